"""Compare: runs side by side on one axis, seeds averaged, differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.charts.overlay import some
from dashboard.compare import measured, picking, selection
from dashboard.compare.lanes import MOST, Lane, entries, first_ticked, lanes
from dashboard.compare.pairs import SIDES, options_of, show_pairs, take, usual_of
from dashboard.compare.pairs import chosen as chosen_pair
from dashboard.compare.picking import FILTERS, TICKED, TURN, choose, tick
from dashboard.compare.pictures import USUAL, choose_look, show_ends, show_races
from dashboard.compare.sheet import sheet
from dashboard.components.live_chart import preload
from dashboard.kit import glossary, library, url
from dashboard.kit.spreadsheet import as_csv

OPENED = "compare.opened"  # in the session: whether the table began open
WIDGETS = (*FILTERS, "by", "rate", "mean")


def restore(asked: Mapping[str, Any], fresh: bool) -> None:
    """Give the widgets what the address says."""
    values = {name: asked[name] for name in WIDGETS}
    values |= {"rate": asked["rate"] or USUAL, "mean": bool(asked["mean"])}
    url.restore_widgets("compare", values, fresh)


def open_link(texts: Sequence[str], known: Mapping[str, Lane], usual: Sequence[str]) -> None:
    """Tick what the address names, else what ships; say what of it there is not."""
    targets, ignored = selection.read(texts, known)
    for sentence in ignored:
        url.ignore("compare", sentence)
    tick(targets if targets or selection.NOTHING in texts else usual)
    st.session_state[OPENED] = not st.session_state[TICKED]


def show_picker(known: Mapping[str, Lane], usual: Sequence[str]) -> None:
    """The table behind a click; it stands open when the page opens with nothing ticked."""
    box = st.expander(
        "Choose what to compare",
        expanded=st.session_state[OPENED],
        icon=":material/checklist:",
        key="compare.picker",
        on_change="rerun",
    )
    if not box.open:
        st.session_state[TURN] += 1  # it begins anew, with what is ticked then
        return
    with box:
        choose(known, usual)


def show_weak(chosen: Sequence[Lane], names: Mapping[str, str]) -> None:
    """Which models are of a training below its gate."""
    weak = [names[lane.target] for lane in chosen if lane.row["weak"] and lane.target in names]
    if weak:
        st.caption(
            f":material/fitness_center: Of weak models, below what their training asked for: "
            f"{library.plain(some(weak))}."
        )


def download(frame: Any) -> None:
    """All of it as one file."""
    st.download_button(
        "Download the comparison as CSV",
        lambda: as_csv(frame),
        "comparison.csv",
        "text/csv",
        key="compare.csv",
        icon=":material/download:",
        on_click="ignore",
        help="One row for each model: run, lane, settings, rates with intervals and counts, "
        "measures, version.",
    )


st.title("Compare")
known = lanes()
usual = first_ticked(known)
filters = picking.known_values(known)
asked, fresh = url.follow("compare", filters)
restore(asked, fresh)
if fresh or TICKED not in st.session_state:
    open_link(asked["runs"], known, usual)
notices = st.container()
if not known:
    st.info(
        "Nothing can be compared yet: no run is finished, and none ships. Purify a model in the "
        "Lab, then come back.",
        icon=":material/compare_arrows:",
    )
    with notices:
        url.notice("compare")
    st.stop()
show_picker(known, usual)
ticked = [target for target in st.session_state[TICKED] if target in known]
if len(ticked) > MOST:
    st.warning(selection.too_many(len(ticked)), icon=":material/filter_list:")
    ticked = ticked[:MOST]
by, rates, means = choose_look()
chosen = [known[target] for target in ticked]
shown = entries(chosen, by)
options = options_of(shown, by)
pairing = usual_of(shown, by, options)
if fresh:
    for lost in take({name: asked[name] for name in SIDES}, options):
        url.ignore("compare", f"“{lost}” is not among what is ticked, so it cannot be paired.")
with notices:
    url.notice("compare")
if shown:
    show_races(shown, rates, means=means)
    show_weak(chosen, {entry.target: entry.name for entry in shown})
    glossary.explain(*glossary.RATES)
    show_ends(shown, means=means)
    show_pairs(shown, by, options, pairing)
    view = measured.view_of(measured.models(shown, known, by))
    found = measured.read(view)
    measured.show_measured(view, found)
    download(sheet(shown, measured.values(found), {lane.target: lane.row for lane in chosen}))
else:
    st.info("Tick at least one row of the table above.", icon=":material/check_box:")
preload()
now = st.session_state
url.write(
    "compare",
    {
        "runs": () if tuple(ticked) == usual else (selection.write(ticked, known),),
        "by": by,
        "rate": () if tuple(rates) == USUAL else tuple(rates),
        "mean": int(means),
        **chosen_pair(pairing),
        **{name: now.get(f"compare.{name}", asked[name]) for name in FILTERS},
    },
)
