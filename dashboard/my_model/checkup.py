"""The checkup of an imported model: a verdict in words, and every number behind it."""

from __future__ import annotations

import math
from dataclasses import replace

import streamlit as st

from analysis.verdict import DETECTORS, Verdict, shipped_reference, verdict
from dashboard.charts.checkup import COLUMNS, MOST, beyond, checkup_chart, triggers_chart
from dashboard.charts.checkup_judged import judged_chart, roc_chart
from dashboard.kit import library, measuring, run_card
from dashboard.kit.show import show as show_chart
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import Choice, MeasureSpec
from ngf.runs.folder import AGAIN, UNFINISHED
from ngf.runs.store import TrainRun

_PLACE = "my_model.checkup"
_ROW, _TILES = 52, 84  # pixels of a detector, and of a row of triggers
_ICONS = {"backdoored": ":material/warning:", "benign": ":material/check_circle:"}


def spec_of(run: TrainRun) -> MeasureSpec:
    return MeasureSpec(target=run.id, measurement=Choice("checkup"))


def show(run: TrainRun) -> None:
    st.header("2. Check it")
    asked = spec_of(run)
    found = library.find_measurement(asked.id)
    if found is None or found.status in AGAIN:
        st.markdown(
            "Detectors look for what a backdoor leaves behind: a class that a small patch or a "
            "slight change of all images leads to, and sharper curvature. They see clean images "
            "alone. Half a minute for the tiny network of this program; larger ones take longer."
        )
        if found is not None:
            run_card.show_error(found)
        show_refusal(_PLACE)
        st.button(
            "Start the checkup",
            type="primary",
            icon=":material/health_and_safety:",
            key=_PLACE,
            on_click=_start,
            args=(asked,),
        )
    elif found.status in UNFINISHED:
        measuring.watch([asked], measuring.progress([asked]))
        measuring.show_stop([asked.id], f"{_PLACE}.stop")
        _first_look(run, asked)
    else:
        _told(run, asked)
    _believed()


def _start(asked: MeasureSpec) -> None:
    submit_all(_PLACE, asked)


@st.fragment(run_every="3s")
def _first_look(run: TrainRun, asked: MeasureSpec) -> None:
    """What is known while the searches go on."""
    reading = measuring.read(asked)
    said = None if reading is None else verdict(reading.values, shipped_reference())
    if said is not None and said.probability is not None:
        _say(said, run)
    st.caption("The verdict comes at the end, when every search has ended.")


def _say(said: Verdict, run: TrainRun) -> None:
    """A verdict in words, and what weighs most in it."""
    classes = (run.result or {})["facts"]["classes"]
    words = library.plain(said.words)
    if said.suspicious is not None:
        name = classes[said.suspicious]
        called = f", **{library.plain(name)}**" if name != str(said.suspicious) else ""
        if called or said.answer != "backdoored":  # else it is named already
            words += f" Class {said.suspicious}{called} stands out most."
    tone = {"backdoored": st.error, "benign": st.success}.get(said.answer, st.warning)
    tone(words, icon=_ICONS.get(said.answer, ":material/help:"))
    if said.reasons:
        with st.expander("What weighs most", icon=":material/balance:"):
            st.markdown("\n".join(f"- {library.plain(reason)}" for reason in said.reasons))


def _told(run: TrainRun, asked: MeasureSpec) -> None:
    reading = measuring.read(asked)
    if reading is None:
        return
    reference = shipped_reference()
    said = verdict(reading.values, reference)
    _say(said, run)
    classes = (run.result or {})["facts"]["classes"]
    measured = reading.measured
    left, right = st.columns([3, 2], gap="large")
    with left:
        show_chart(
            replace(checkup_chart(measured, reference), finding=beyond(said)),
            f"{_PLACE}.{asked.id}.detectors",
            name="detectors",
            of=[reading.run],
            height=_ROW * len(DETECTORS) + 90,
        )
    with right:
        st.markdown("**Reversed triggers**, the smallest first")
        show_chart(
            triggers_chart(measured),
            f"{_PLACE}.{asked.id}.triggers",
            name="reversed triggers",
            of=[reading.run],
            height=_TILES * math.ceil(min(len(classes), MOST) / COLUMNS) + 20,
        )


def _believed() -> None:
    """How far checkups can be believed, from models that are known."""
    reference = shipped_reference()
    if reference is None:
        return
    with st.expander(
        "How far can it be believed?",
        icon=":material/fact_check:",
        key=f"{_PLACE}.believed",
        on_change="rerun",
    ) as opened:
        pass
    if opened.open:
        with opened:
            st.markdown(
                f"Tried on {library.plain(reference['family']['title'])}: every attack was left "
                "out once, and the rules that were learned from the others had to find it."
            )
            show_chart(
                judged_chart(reference), f"{_PLACE}.judged", name="detectors on unseen attacks"
            )
            show_chart(roc_chart(reference), f"{_PLACE}.roc", name="verdict on unseen attacks")
