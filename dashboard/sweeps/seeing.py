"""The picture of a sweep: what is across, up, color and panel, and the numbers behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.sweep import MOST as MOST_PANELS
from dashboard.charts.sweep import NONE, Axis, Look, Quantity, left_out, sweep_chart
from dashboard.kit import library
from dashboard.kit.show import show
from dashboard.kit.spreadsheet import as_csv
from dashboard.sweeps.following import WORDS
from dashboard.sweeps.results import (
    OF_MODELS,
    Row,
    axes_of,
    held_of,
    number_of,
    points_of,
    quantities_of,
    usual_look,
    value_of,
)
from ngf.sweeps.folder import Sweep

MOST = 300  # rows of the table on the page
_PANEL = 210  # pixels
_NOTHING = "none"  # in an address
_OF = "sweeps.of"  # in the session: the sweep that the choices are for


@dataclass(frozen=True)
class View:
    """What is shown. quantity: its name; held: the place on an axis of which one value is shown."""

    look: Look
    quantity: str
    held: Mapping[str, int]

    def address(self) -> dict[str, Any]:
        """Its parameters."""
        return {
            "x": self.look.x,
            "y": self.quantity,
            "color": self.look.color or _NOTHING,
            "panel": self.look.panel or _NOTHING,
            "over": self.look.over or (_NOTHING,),
            "at": tuple(f"{name}={place}" for name, place in self.held.items()),
        }


# ---- the choices


def choose(sweep: Sweep, rows: Sequence[Row], asked: Mapping[str, Any] | None) -> View:
    """The pickers. asked: by a link that has just been opened, else None."""
    axes, quantities = axes_of(sweep.spec, rows), quantities_of(sweep.spec, rows)
    usual = usual_look(axes)
    if asked is not None or st.session_state.get(_OF) != sweep.id:
        _begin(asked or {}, usual)
        st.session_state[_OF] = sweep.id
    titles = {NONE: "none", **{name: axis.title for name, axis in axes.items()}}
    with st.container(key="sweeps_look"):  # on a phone two beside each other, see the frame
        first, second, third, fourth, fifth = st.columns(5)
        with first:
            names = {name: quantity.title for name, quantity in quantities.items()}
            up = _select("Measure on y", "y", list(names), names)
        with second:
            across = _select("Axis on x", "x", list(axes), titles, usual.x)
        with third:
            color = _select("Color", "color", [NONE, *axes], titles, usual.color)
        with fourth:
            panel = _select("Panels", "panel", [NONE, *axes], titles, usual.panel)
        with fifth:
            over = _choose_over(held_of(axes, Look(across, color, panel)), titles)
        look = Look(across, color, panel, over)
        return View(look, up, _choose_held(axes, held_of(axes, look)))


def _choose_over(free: Sequence[str], titles: Mapping[str, str]) -> tuple[str, ...]:
    key = "sweeps.over"
    st.session_state[key] = [name for name in st.session_state.get(key, ()) if name in free]
    return tuple(
        st.multiselect(
            "Mean over",
            free,
            key=key,
            format_func=titles.__getitem__,
            placeholder="nothing",
            help="With a 95 % t interval. An axis that is neither shown nor averaged over is held "
            "at one value.",
        )
    )


def _choose_held(axes: Mapping[str, Axis], names: Sequence[str]) -> dict[str, int]:
    """One value of each axis that is left."""
    held = {}
    columns = st.columns(5) if names else []
    for place, name in enumerate(names):
        with columns[place % len(columns)]:
            held[name] = _hold(name, axes[name])
    return held


def _begin(asked: Mapping[str, Any], usual: Look) -> None:
    """What the pickers of a sweep begin with: what a link says, else what is usual."""
    told = {"x": usual.x, "y": "", "color": usual.color, "panel": usual.panel}
    told |= {name: asked[name] for name in told if asked.get(name)}
    for name, value in told.items():
        st.session_state[f"sweeps.{name}"] = NONE if value == _NOTHING else value
    st.session_state["sweeps.over"] = list(asked.get("over") or usual.over)
    for text in asked.get("at", ()):
        name, _, place = text.rpartition("=")
        st.session_state[f"sweeps.at.{name}"] = int(place)


def _select(
    label: str, name: str, options: Sequence[str], words: Mapping[str, str], usual: str = NONE
) -> str:
    key = f"sweeps.{name}"
    if st.session_state.get(key) not in options:
        st.session_state[key] = usual if usual in options else options[0]
    return str(st.selectbox(label, options, key=key, format_func=words.__getitem__))


def _hold(name: str, axis: Axis) -> int:
    key, places = f"sweeps.at.{name}", range(len(axis.values))
    if st.session_state.get(key) not in places:
        st.session_state[key] = 0
    chosen: int = st.selectbox(
        library.plain(axis.title),
        places,
        key=key,
        format_func=axis.words.__getitem__,
        help="The picture is of this value alone.",
    )
    return chosen


# ---- what is seen


def show_results(sweep: Sweep, rows: Sequence[Row], view: View) -> None:
    """The chart, what it is of, and all rows as a table and as a file."""
    axes, quantities = axes_of(sweep.spec, rows), quantities_of(sweep.spec, rows)
    if view.quantity not in quantities or not set(view.look.shown) <= set(axes):
        return  # another moment: the page is about to be drawn anew
    quantity = quantities[view.quantity]
    points = points_of(rows, axes, view.quantity, view.held)
    if not points:
        st.info(
            "Nothing of this picture is measured yet. It begins with the first run that is done.",
            icon=":material/hourglass_empty:",
        )
    else:
        panels = len({point.at[view.look.panel] for point in points}) if view.look.panel else 1
        show(
            sweep_chart(points, axes, quantity, view.look),
            "sweeps.chart",
            name=f"{quantity.title} of {sweep.id}",
            height=max(400, 90 + _PANEL * min(panels, MOST_PANELS)),
        )
        st.caption(f"{_caption(rows, axes, view, len(points))} {left_out(points, view.look)}")
    _show_table(sweep, rows, axes, quantities)


def _caption(rows: Sequence[Row], axes: Mapping[str, Axis], view: View, count: int) -> str:
    """What the chart is of."""
    said = [f"*Measured*: {count:,} result{'' if count == 1 else 's'}"]
    if view.quantity in OF_MODELS and view.quantity != "seconds":
        said[0] += ", each on the whole test set"
    over = [axes[name].title.lower() for name in view.look.over]
    if over:
        said.append(
            f"Large: mean over {' and '.join(over)}. Bars: 95 % t interval. Small: each run"
        )
    if held := [f"{axes[name].title} {axes[name].words[i]}" for name, i in view.held.items()]:
        said.append(f"Only {', '.join(held)}")
    if gone := sum(row["diverged"] is not None for row in rows):
        said.append(f"{gone:,} of all lanes diverged and have no numbers")
    return " ".join([f"{said[0]}.", *(f"{library.plain(part)}." for part in said[1:])])


def _show_table(
    sweep: Sweep,
    rows: Sequence[Row],
    axes: Mapping[str, Axis],
    quantities: Mapping[str, Quantity],
) -> None:
    with st.expander(
        "All runs", icon=":material/table:", key="sweeps.rows", on_change="rerun"
    ) as box:
        pass
    if not box.open:
        return
    with box:
        if len(rows) > MOST:
            st.caption(f"The first {MOST} of {len(rows):,}. The file holds them all.")
        st.dataframe(
            table(rows[:MOST], axes, quantities),
            hide_index=True,
            width="stretch",
            alt="Every combination with its state and its numbers",
        )
        st.download_button(
            "Download as CSV",
            lambda: as_csv(sheet(rows)),
            f"{sweep.id}.csv",
            "text/csv",
            key="sweeps.csv",
            icon=":material/download:",
            on_click="ignore",
            help="One row for each run and lane: values as asked for, shares as fractions.",
        )


def table(
    rows: Sequence[Row], axes: Mapping[str, Axis], quantities: Mapping[str, Quantity]
) -> pd.DataFrame:
    """A row for each run and lane, in words; shares in percent."""
    words = {
        name: dict(zip(map(repr, axis.values), axis.words, strict=True))
        for name, axis in axes.items()
    }
    return pd.DataFrame(
        [
            {
                **{
                    axis.title: words[name].get(repr(value_of(row, name)), "")
                    for name, axis in axes.items()
                },
                "State": _state(row),
                **{
                    quantity.title + (" (%)" if quantity.share else ""): _drawn(row, name, quantity)
                    for name, quantity in quantities.items()
                },
                "Run": row["run"],
            }
            for row in rows
        ]
    )


def _state(row: Row) -> str:
    if row["diverged"] is not None:
        return f"diverged at step {row['diverged']}"
    return "done" if row["status"] == "done" else WORDS[row["status"]]


def _drawn(row: Row, name: str, quantity: Quantity) -> float | None:
    value = number_of(row, name)
    return None if value is None else quantity.drawn(value)


def sheet(rows: Sequence[Row]) -> pd.DataFrame:
    """A row for each run and lane: values by path, then run, lane, state and all numbers."""
    flat = [
        {
            **{path: _cell(value) for path, value in row["values"].items()},
            **{name: row[name] for name in ("run", "lane", "status", "diverged")},
            **{name: row[name] for name in OF_MODELS},
            **row["readings"],
        }
        for row in rows
    ]
    return pd.DataFrame(flat, dtype=object)


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)
