"""Runs: everything that was computed here and everything that ships with the project."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.charts.titles import lane_title
from dashboard.kit import library, url
from dashboard.kit.pages import script
from dashboard.kit.run_card import show_error, show_state

MORE = {"attack": "Attack", "defense": "Defense", "status": "State", "source": "Source"}
FILTERS = ("kind", *MORE)
WORDS = {"kind": library.KINDS, "status": library.STATES, "source": {"user": "yours", "zoo": "zoo"}}
RATES = {"ca": "Clean accuracy", "asr": "Attack success", "ra": "Robust accuracy"}


def say_word(name: str, value: str) -> str:
    if name in WORDS:
        return WORDS[name].get(value, value)
    return library.title("attacks", value) if name == "attack" else lane_title(value)


def say_kind(row: dict) -> str:
    """`measurement: Fisher trace`"""
    name = row.get("measurement")
    return say_word("kind", row["kind"]) + (
        f": {library.title('measurements', name)}" if name else ""
    )


def filtered(rows: list[dict], chosen: dict[str, list[str]]) -> list[dict]:
    def fits(row: dict, name: str, wanted: list[str]) -> bool:
        return not wanted or bool(set(str(row[name] or "").split(", ")) & set(wanted))

    return [row for row in rows if all(fits(row, name, wanted) for name, wanted in chosen.items())]


def table(rows: list[dict]) -> pd.DataFrame:
    """One line a run, in words; rates in percent."""
    return pd.DataFrame(
        [
            {
                "Run": row["id"],
                "Kind": say_kind(row),
                "State": say_word("status", row["status"]),
                "Data": row["data"] and library.title("data", row["data"]),
                "Attack": row["attack"] and library.title("attacks", row["attack"]),
                "Defense": row["defense"]
                and ", ".join(map(lane_title, row["defense"].split(", "))),
                "Seed": row["seed"],
                **{
                    word: None if row[name] is None else round(100 * row[name], 2)
                    for name, word in RATES.items()
                },
                "Source": say_word("source", row["source"]),
                "Submitted": row["submitted_at"],
            }
            for row in rows
        ]
    )


def open_run(run_id: str) -> None:
    run = library.find(run_id)
    if run is None:
        return
    st.header(library.describe(run))
    show_state(run, run.events())
    show_error(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.spec.kind in ("train", "purify"):
            st.page_link(
                script("lab"),
                label="Open in Lab",
                icon=":material/science:",
                query_params={"run": run.id},
            )
        if run.spec.kind != "train":
            target = run.spec.target if run.spec.kind == "measure" else run.id
            name, _, lane = target.partition(":")
            st.page_link(
                script("geometry"),
                label="Open in Geometry",
                icon=":material/landscape:",
                query_params={"run": name} | ({"lane": lane} if lane else {}),
            )
        if run.source == "user":
            with st.popover("Delete", icon=":material/delete:"):
                st.markdown(f"Delete **{run.id}** and its files? This cannot be undone.")
                st.button("Delete for good", key="runs.delete", on_click=delete, args=(run.id,))
        else:
            st.caption("Part of the zoo: read-only.")
    with st.expander("Specification and result"):
        st.json({"spec": run.spec.to_json(), "result": run.result, "error": run.error}, expanded=1)


def delete(run_id: str) -> None:
    try:
        library.store().delete(run_id)
        st.session_state["runs.said"] = f"{run_id} was deleted."
    except (ValueError, KeyError) as error:
        st.session_state["runs.said"] = str(error)


st.title("Runs")
summaries = [run.summary() for run in library.store().runs()]
known = {
    name: sorted({part for row in summaries for part in str(row[name] or "").split(", ") if part})
    for name in FILTERS
}
values, fresh = url.follow("runs", {name: known[name] for name in ("attack", "defense")})
url.seed("runs", {name: values[name] for name in FILTERS}, fresh)
if fresh and values["run"] and library.find(values["run"]) is None:
    url.ignore("runs", f"run “{values['run']}” is not in this store.")
url.notice("runs")
if st.session_state.get("runs.said"):
    st.info(st.session_state.pop("runs.said"))
mine = sum(row["source"] == "user" for row in summaries)
st.markdown(
    f"{len(summaries) - mine} in the zoo, {mine} made here ({library.disk_use()} on disk). "
    "Select a row to open it."
)
chosen = {
    "kind": st.pills(
        "Kind",
        known["kind"],
        selection_mode="multi",
        key="runs.kind",
        format_func=lambda value: say_word("kind", value).capitalize(),
    )
}
with st.expander(
    "More filters", expanded=any(values[name] for name in MORE), icon=":material/filter_list:"
):
    chosen |= {
        name: st.multiselect(
            word,
            known[name],
            key=f"runs.{name}",
            format_func=lambda value, name=name: say_word(name, value),
        )
        for name, word in MORE.items()
    }
rows = filtered(summaries, chosen)
selected = ""
if rows:
    frame = table(rows)
    picked = st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        on_select="rerun",
        placeholder="",
        key=f"runs.table.{hash(tuple(row['id'] for row in rows))}",
        selection_mode="single-row",
        alt="All runs with their state and their numbers",
        column_config={
            word: st.column_config.NumberColumn(format="%.1f %%") for word in RATES.values()
        },
    )
    selected = rows[picked.selection.rows[0]]["id"] if picked.selection.rows else values["run"]
    st.download_button(
        "Download as CSV",
        frame.to_csv(index=False),
        "runs.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
else:
    st.info(
        "No run fits these filters."
        if summaries
        else "Nothing was computed here yet. The Lab is the place to start.",
        icon=":material/inbox:",
    )
if selected:
    open_run(selected)
url.write("runs", {**chosen, "run": selected})
