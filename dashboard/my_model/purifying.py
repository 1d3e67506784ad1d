"""A race of defenses on an imported model, whose trigger nobody knows."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.registry import LIVE, draw_outline
from dashboard.charts.titles import lane_title
from dashboard.kit import library, run_card, running, visitor
from dashboard.kit.pages import script
from dashboard.kit.show import show as show_chart
from dashboard.kit.submit import show_refusal, submit_all
from dashboard.kit.take import take_home
from dashboard.my_model import reactivation, yardstick
from ngf.catalogue import catalogue
from ngf.config import FEW_CLEAN, Choice, PurifySpec
from ngf.runs.folder import OPEN, UNFINISHED
from ngf.runs.store import PurifyRun, TrainRun

_LEAST_OF_FIVE = 10  # images: two in each part
_PATIENCE = 0.5  # seconds that the page waits for the events of a run
# What did best in the arena, and the usual fine-tuning beside it.
_FIRST = ("ngf", "fst", "sgd")
_ALL_LAYERS = {"ngf": {"layer": "all", "trust_region": 0.03}}
_CANNOT = (
    "Nobody knows the trigger, so no attack success rate can be measured: the curves show clean "
    "accuracy alone, and a model whose accuracy stays is not clean for that. After a race a "
    "yardstick tells how much of what opened your model before still does."
)


_KNOWN = "The attack success rate is that of the {:,} pictures with the trigger that came along."


def show(run: TrainRun) -> None:
    st.header("3. Clean it, and take it home")
    known = (run.result or {})["n_triggered"]
    st.markdown(_KNOWN.format(known) if known else _CANNOT)
    spec = _form(run)
    show_refusal("my_model")
    if spec is not None:
        st.button(
            "Start the race",
            type="primary",
            icon=":material/play_arrow:",
            key="my_model.start",
            on_click=_start,
            args=(spec,),
        )
    for race in races(run):
        _race(run, race)


def _start(spec: PurifySpec) -> None:
    submit_all("my_model", spec)


def races(run: TrainRun) -> list[PurifyRun]:
    """The purifications of an import, the newest first."""
    return [
        found
        for found in library.store().look().facts
        if isinstance(found, PurifyRun) and found.spec.parent == run.id
    ]


def _form(run: TrainRun) -> PurifySpec | None:
    names = list(catalogue()["defenses"])
    chosen = st.multiselect(
        "Defenses",
        names,
        default=[name for name in _FIRST if name in names],
        format_func=lane_title,
        max_selections=6,
        key=f"my_model.lanes.{run.id}",
        help="All start from your weights and see the same images. The Arena tells what each did "
        "on backdoors that are known. The Lab has all their settings.",
    )
    if not chosen:
        st.caption("Choose one or more.")
        return None
    count = (run.result or {})["facts"]["pools"]["holdout"]
    lanes = tuple(Choice(name, _ALL_LAYERS.get(name, {})) for name in chosen)
    few = _LEAST_OF_FIVE <= count < FEW_CLEAN
    if few:
        st.caption(
            f"{count} clean images are few to choose by. Where a defense chooses a setting, it "
            "cuts them into five parts: each part judges what was tuned on the other four, so "
            "that every image judges once, and the result says so."
        )
    return PurifySpec(
        parent=run.id,
        lanes=lanes,
        num_clean=min(count, 5000),
        choosing="fivefold" if few else "within",
    )


def _race(run: TrainRun, race: PurifyRun) -> None:
    """One race on an imported model: its curves, and what can be taken of it."""
    status, outline = race.status, race.outline(_PATIENCE)
    running.on_page(race)
    with st.container(border=True):
        words, press = st.columns([3, 2], vertical_alignment="center")
        with words:
            if status in UNFINISHED:
                _watch(race.id, status)
            else:
                run_card.show_state(race, outline)
        with (
            press,
            st.container(
                horizontal=True, horizontal_alignment="right", vertical_alignment="center"
            ),
        ):
            if status in OPEN and not visitor.why_not(race):
                running.show_buttons(race, status)
            if status == "done":
                take_home(race)
            st.page_link(
                script("lab"),
                label="Open in Lab",
                icon=":material/science:",
                query_params={"run": race.id},
            )
        run_card.show_error(race)
        name = LIVE[race.kind]
        moving = status in UNFINISHED or not outline.whole
        show_chart(
            draw_outline(name, race.spec, outline),
            f"my_model.{race.id}.{race.request.get('queued_at', '')}",
            name=f"{name} curves",
            of=[race],
            height=320,
            scrub=not moving,
            url=f"api/runs/{race.id}/charts/{name}" if moving else None,
        )
        if status == "done":
            yardstick.show(race)
            reactivation.show(run, race)


@st.fragment(run_every=1)
def _watch(run_id: str, drawn: str) -> None:
    """Only text, once a second; the page is drawn anew when the state changes."""
    run = library.find(run_id)
    if run is None or run.status != drawn:
        st.rerun()
    run_card.show_state(run, run.outline(_PATIENCE))
