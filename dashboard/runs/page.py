"""Runs: everything that was computed here and everything that ships with the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.rates import RATES
from dashboard.charts.titles import UNKNOWN, attack_title, lane_title
from dashboard.kit import library, url, visitor
from dashboard.kit.library import ModelRun
from dashboard.kit.pages import script
from dashboard.kit.run_card import show_error, show_state
from dashboard.kit.spreadsheet import as_csv
from dashboard.kit.take import take_home
from dashboard.runs.lanes import say_lanes, sheet
from ngf.config import Target
from ngf.runs.slots import slot_of
from ngf.runs.store import MeasureRun, PurifyRun, Run

Row = dict[str, Any]  # `Run.summary`, and the sweep that asked for it
MOST = 300  # runs in the table: a browser that is sent ten thousand lines takes its time
MORE = {
    "attack": "Attack",
    "defense": "Defense",
    "status": "State",
    "sweep": "Sweep",
    "source": "Source",
}
FILTERS = ("kind", *MORE)
WORDS: Mapping[str, Mapping[str, str]] = {
    "kind": library.KINDS,
    "status": library.STATES,
    "source": {"user": "made here", "zoo": "zoo"},
}


# ---- in words


def say_word(name: str, value: str) -> str:
    """A value of the filter `name` in words."""
    if name in WORDS:
        return WORDS[name].get(value, value)
    if name == "sweep":
        return url.short(value)
    return library.title("attacks", value) if name == "attack" else lane_title(value)


def say_kind(row: Row) -> str:
    """`measurement: Fisher trace`"""
    name = row.get("measurement")
    if row["kind"] == "train" and attack_title(row["data"], "") == UNKNOWN:
        return "import"
    return say_word("kind", row["kind"]) + (
        f": {library.title('measurements', name)}" if name else ""
    )


def show_damaged(damaged: Mapping[str, str]) -> None:
    """Which folders are left out, and why."""
    if not damaged:
        return
    count = "A folder is" if len(damaged) == 1 else f"{len(damaged)} folders are"
    with st.expander(f"{count} damaged and left out", icon=":material/warning:"):
        st.caption("Put right what is named, or delete the folder in a terminal: ngf delete NAME.")
        st.dataframe(
            pd.DataFrame([{"Folder": name, "What is wrong": why} for name, why in damaged.items()]),
            hide_index=True,
        )


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """One line per run, in words; rates in percent. Those of a race are told lane by lane."""
    return pd.DataFrame(
        [
            {
                "Run": row["id"],
                "Kind": say_kind(row),
                "State": say_word("status", row["status"]) + (", weak" if row["weak"] else ""),
                "Data": row["data"] and library.title("data", row["data"]),
                "Attack": row["attack"] and attack_title(row["data"], row["attack"]),
                "Defense": row["defense"]
                and ", ".join(map(lane_title, row["defense"].split(", "))),
                "Seed": row["seed"],
                **{
                    rate.name: None if row[rate.key] is None else round(100 * row[rate.key], 2)
                    for rate in RATES
                },
                "Lanes": say_lanes(row["rows"]),
                "Source": say_word("source", row["source"]),
                "Submitted": row["submitted_at"],
            }
            for row in rows
        ]
    )


# ---- filters


def parts(row: Row, name: str) -> set[str]:
    """The values of a run for the filter `name`; a race has several defenses."""
    return set(filter(None, str(row[name] or "").split(", ")))


def filtered(rows: Sequence[Row], chosen: Mapping[str, Sequence[str]]) -> list[Row]:
    """The rows that fit every filter; a filter without a choice lets all pass."""
    return [
        row
        for row in rows
        if all(not wanted or parts(row, name) & set(wanted) for name, wanted in chosen.items())
    ]


def choose_filters(known: Mapping[str, list[str]], opened: bool) -> dict[str, list[str]]:
    """A widget per filter, all but the kind behind a click unless `opened`."""
    kinds = st.pills(
        "Kind",
        known["kind"],
        selection_mode="multi",
        key="runs.kind",
        format_func=lambda value: say_word("kind", value).capitalize(),
    )
    with st.expander("More filters", expanded=opened, icon=":material/filter_list:"):
        return {"kind": kinds} | {name: choose_filter(name, known[name]) for name in MORE}


def choose_filter(name: str, values: list[str]) -> list[str]:
    return st.multiselect(
        MORE[name],
        values,
        key=f"runs.{name}",
        format_func=lambda value: say_word(name, value),
    )


# ---- the table, and one run


def choose_rows(rows: Sequence[Row], addressed: str) -> list[str]:
    """The table. Returns the ids of the ticked runs, else the one that the address names."""
    shown = rows
    if len(rows) > MOST and not st.session_state.get("runs.all"):
        shown = rows[:MOST]
        st.caption(f"The newest {MOST} of {len(rows):,}. The file holds them all.")
    frame = table(shown)
    picked = st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        on_select="rerun",
        placeholder="",
        key=f"runs.table.{hash(tuple(row['id'] for row in shown))}",
        selection_mode="multi-row",
        alt="All runs with their state and their numbers",
        column_config={rate.name: st.column_config.NumberColumn(format="%.1f %%") for rate in RATES}
        | {"Lanes": st.column_config.TextColumn(width="large")},
    )
    if len(rows) > MOST:
        st.toggle(f"Show all {len(rows):,}", key="runs.all")
    st.download_button(
        "Download as CSV",
        lambda: as_csv(sheet([lane for row in rows for lane in row["rows"]])),
        "runs.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        help="One row for each lane, with layer, learning rate, counts, intervals and version.",
    )
    return [shown[place]["id"] for place in picked.selection.rows] or [addressed]


def show_run(run_id: str) -> None:
    """Everything about one run: its state, where to see it, and its files as they are."""
    run = library.find(run_id)
    if run is None:
        return
    st.header(library.plain(library.describe(run)))
    show_state(run, run.outline(0.5))
    show_error(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        show_links(run)
        take_home(run)
        if run.source != "user":
            st.caption("Ships with the program: read-only.")
        elif refusal := visitor.why_not(run, "delete"):
            st.caption(f":material/visibility: {refusal}")
        else:
            with st.popover("Delete", icon=":material/delete:"):
                st.markdown(
                    f"Delete **{library.plain(run.id)}** and its files? This cannot be undone."
                )
                st.button("Delete for good", key="runs.delete", on_click=delete, args=(run.id,))
    with st.expander("Specification and result"):
        st.json({"spec": run.spec.to_json(), "result": run.result, "error": run.error}, expanded=1)


def show_compare(ids: Sequence[str]) -> None:
    """A link that puts the finished ones among the ticked runs on one axis."""
    found = [run for run_id in ids if isinstance(run := library.find(run_id), ModelRun)]
    done = [run.id for run in found if run.status == "done"]
    if done:
        st.page_link(
            script("compare"),
            label=f"Compare these {len(done)}" if len(done) > 1 else "Compare",
            icon=":material/compare_arrows:",
            query_params={"runs": ",".join(done)},
        )


def show_links(run: Run) -> None:
    """Links to the pages that show this run."""
    if isinstance(run, ModelRun):
        st.page_link(
            script("lab"),
            label="Open in Lab",
            icon=":material/science:",
            query_params={"run": run.id},
        )
    if isinstance(run, PurifyRun | MeasureRun):
        target = Target.parse(run.spec.target if isinstance(run, MeasureRun) else run.id)
        st.page_link(
            script("geometry"),
            label="Open in Geometry",
            icon=":material/landscape:",
            query_params={"run": target.run} | ({"lane": target.lane} if target.lane else {}),
        )


def delete(run_id: str) -> None:
    """Delete a run, for a button."""
    run = library.find(run_id)
    try:
        if run is not None:
            visitor.delete(run)
        st.session_state["runs.said"] = f"{run_id} was deleted."
    except (ValueError, KeyError) as error:
        st.session_state["runs.said"] = str(error)


st.title("Runs")
look = library.store().look()
summaries = [
    row | {"sweep": facts.request["sweep"]}
    for run, facts in look.facts.items()
    if (row := look.summary(run)) is not None
]
known = {name: sorted({part for row in summaries for part in parts(row, name)}) for name in FILTERS}
values, fresh = url.follow("runs", {name: known[name] for name in ("attack", "defense", "sweep")})
url.restore_widgets("runs", {name: values[name] for name in FILTERS}, fresh)
if fresh and values["run"] and library.find(values["run"]) is None:
    url.ignore("runs", f"run “{values['run']}” is not in this store.")
url.notice("runs")
if st.session_state.get("runs.said"):
    st.info(library.plain(st.session_state.pop("runs.said")))
mine = sum(row["source"] == "user" for row in summaries)
st.markdown(
    f"{len(summaries) - mine} in the zoo, {mine} made here ({library.disk_use()} on disk). "
    "Tick a row to open it, several to compare them."
)
show_damaged(look.damaged)
chosen = choose_filters(known, opened=any(values[name] for name in MORE))
rows = filtered(summaries, chosen)
# Short measurements and those along a race are made by the dozen, and looked at where they were
# asked for.
passing = {run.id for run, facts in look.facts.items() if slot_of(facts.spec) in ("brief", "live")}
if not chosen["kind"] and (left_out := sum(row["id"] in passing for row in rows)):
    rows = [row for row in rows if row["id"] not in passing]
    st.caption(
        f"{left_out} short measurements and measurements along races are left out. Choose "
        "Measurement above to see them."
    )
if not chosen["sweep"] and (left_out := sum(bool(row["sweep"]) for row in rows)):
    rows = [row for row in rows if not row["sweep"]]
    st.caption(
        f"{left_out:,} runs of sweeps are left out: the Sweeps page shows them. Choose a sweep "
        "under “More filters” to list its runs."
    )
selected = values["run"]
if rows:
    selected, *more = choose_rows(rows, selected)
    show_compare([selected, *more])
else:
    st.info(
        "No run fits these filters."
        if summaries
        else "Nothing was computed here yet. The Lab is the place to start.",
        icon=":material/inbox:",
    )
if selected:
    show_run(selected)
url.write("runs", {**chosen, "run": selected})
