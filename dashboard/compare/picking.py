"""The table in which models are ticked, with its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.rates import RATES
from dashboard.charts.titles import attack_title, lane_title
from dashboard.compare.lanes import MOST, Lane
from dashboard.kit import library
from ngf.runs.store import PurifyRun

FILTERS = {
    "attack": "Attack",
    "defense": "Defense",
    "data": "Data",
    "seed": "Seed",
    "source": "Source",
}
SOURCES = {"user": "made here", "shipped": "recording that ships", "zoo": "zoo"}
ROWS = 300  # in the table; filters find the rest
TICKED, TURN, BEGAN = "compare.ticked", "compare.turn", "compare.began"  # in the session


def known_values(known: Mapping[str, Lane]) -> dict[str, list[str]]:
    """The values that each filter offers."""
    found = {
        name: {value for lane in known.values() if (value := value_of(lane, name))}
        for name in FILTERS
    }
    return {name: sorted(of, key=_in_order) for name, of in found.items()}


def value_of(lane: Lane, name: str) -> str:
    """A model's value for the filter `name`; its seed is that of the model."""
    if name == "seed":
        return "" if lane.model_seed is None else str(lane.model_seed)
    if name == "source":
        return lane.run.source
    return str(lane.row.get(name) or "")


def _in_order(value: str) -> tuple[int, int, str]:
    return (0, int(value), "") if value.isdigit() else (1, 0, value)


def fitting(known: Mapping[str, Lane], chosen: Mapping[str, Sequence[str]]) -> list[Lane]:
    """The models that fit every filter; a filter without a choice lets all pass."""
    return [
        lane
        for lane in known.values()
        if all(not wanted or value_of(lane, name) in wanted for name, wanted in chosen.items())
    ]


def words(name: str, value: str) -> str:
    """A value of the filter `name` in words."""
    if name == "source":
        return SOURCES.get(value, value)
    if name == "defense":
        return lane_title(value)
    return value if name == "seed" else library.title({"attack": "attacks"}.get(name, name), value)


def tick(targets: Sequence[str]) -> None:
    """Tick these and nothing else, for a button or a link; the table is drawn anew."""
    st.session_state[TICKED] = tuple(targets)
    st.session_state[TURN] = st.session_state.get(TURN, 0) + 1


def after_choice(
    ticked: Sequence[str], shown: Sequence[str], chosen: Sequence[str]
) -> tuple[str, ...]:
    """What is ticked when of the rows `shown` those in `chosen` are: the others keep their tick."""
    kept = [target for target in ticked if target not in shown or target in chosen]
    return tuple(dict.fromkeys([*kept, *chosen]))


def choose(known: Mapping[str, Lane], usual: Sequence[str]) -> None:
    """The filters, the table, and what ticks or unticks all. usual: what a bare address ticks."""
    values = known_values(known)
    columns = st.columns(len(FILTERS))
    chosen = {}
    for column, (name, title) in zip(columns, FILTERS.items(), strict=True):
        chosen[name] = column.multiselect(
            title,
            values[name],
            key=f"compare.{name}",
            format_func=partial(words, name),
        )
    rows = fitting(known, chosen)
    if len(rows) > ROWS:
        st.caption(f"The first {ROWS} of {len(rows):,}. Filters find the rest.")
        rows = rows[:ROWS]
    shown = [lane.target for lane in rows]
    if rows:
        _table(rows, shown)
    else:
        st.info("No model fits these filters.", icon=":material/filter_list_off:")
    with st.container(horizontal=True):
        st.button(
            "Untick all", icon=":material/check_box_outline_blank:", on_click=tick, args=((),)
        )
        if tuple(usual) != st.session_state[TICKED]:
            st.button(
                "Tick what ships", icon=":material/movie:", on_click=tick, args=(tuple(usual),)
            )
        st.caption(
            f"{len(st.session_state[TICKED])} of {len(known):,} ticked, {MOST} at most. A link to "
            "this page opens the same comparison."
        )


def _table(rows: Sequence[Lane], shown: Sequence[str]) -> None:
    """The table with its ticks. What it began with stays: another would make it begin anew."""
    key = f"compare.table.{st.session_state.get(TURN, 0)}.{hash(tuple(shown))}"
    if st.session_state.get(BEGAN, ("", ()))[0] != key:
        ticked = st.session_state[TICKED]
        st.session_state[BEGAN] = key, [i for i, name in enumerate(shown) if name in ticked]
    st.dataframe(
        pd.DataFrame([_row(lane) for lane in rows]),
        hide_index=True,
        width="stretch",
        height=318,
        on_select=partial(_take, key, tuple(shown)),
        selection_mode="multi-row",
        selection_default={"selection": {"rows": st.session_state[BEGAN][1]}},
        key=key,
        placeholder="",
        alt="Models that can be compared, with their numbers; ticked rows are",
        column_config={
            rate.short: st.column_config.NumberColumn(format="%.1f %%") for rate in RATES
        },
    )


def _take(key: str, shown: tuple[str, ...]) -> None:
    """What was ticked in the table of this key, before the page is drawn with it."""
    chosen = [shown[place] for place in st.session_state[key].selection.rows]
    st.session_state[TICKED] = after_choice(st.session_state[TICKED], shown, chosen)


def _row(lane: Lane) -> dict[str, Any]:
    row = lane.row
    purified = isinstance(lane.run, PurifyRun)
    return {
        "Attack": row["attack"] and attack_title(row["data"], row["attack"]),
        "Purified by": lane_title(lane.lane) if purified else "",
        "Model seed": lane.model_seed,
        "Seed": row["seed"] if purified else None,
        "Layer": str(row["layer"] or "") if purified else "",
        "Rate": row["lr"] if purified else None,
        **{
            rate.short: None if row[rate.key] is None else round(100 * row[rate.key], 2)
            for rate in RATES
        },
        "Data": row["data"] and library.title("data", row["data"]),
        "Source": SOURCES[lane.run.source],
        "State": f"diverged at step {row['diverged']['step']}" if row["diverged"] else "",
        "Run": lane.target,
    }
