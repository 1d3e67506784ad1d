"""What each step shows, and the numbers of its text; all of it was measured beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from analysis import asking
from dashboard.charts.equal_steps import equal_steps_chart
from dashboard.charts.pair import SHARPER, pair_chart
from dashboard.charts.registry import ChartOptions, draw
from dashboard.charts.style import number, percent
from dashboard.charts.titles import lane_title, short
from dashboard.kit import library, measuring
from dashboard.kit.evidence import evidence, pairs
from dashboard.kit.measuring import Side, View, sides
from dashboard.kit.pages import script
from dashboard.kit.readings import findings
from dashboard.kit.show import show
from dashboard.kit.trigger import pictures, preview, readable, wanted
from ngf.catalogue import options_of
from ngf.runs.store import PurifyRun

Numbers = Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """numbers: for the text. shown: draws the picture; it is told whether the answer was given."""

    numbers: Callable[[], Numbers]
    shown: Callable[[bool], None]


# ---- 1. a hidden door


def _door_numbers() -> Numbers:
    race = library.recording()
    trained = race.training() if race is not None else None
    if race is None or trained is None:
        return {}
    before = race.finished()["before"]
    classes = library.data_facts(trained).get("classes", [])
    target = options_of("attacks", trained.spec.attack).get("target", 0)
    return {
        "asr": percent(before["asr"]),
        "ca": percent(before["ca"]),
        "target": readable(classes[target]) if target < len(classes) else "one class",
    }


def _door(answered: bool) -> None:
    race = library.recording()
    trained = race.training() if race is not None else None
    arrays = preview(trained) if trained is not None else None
    if trained is None or arrays is None:
        st.info("The pictures of this step do not ship with this version.")
        return
    on = answered and st.toggle("Trigger on", value=True, key="learn.trigger")
    rows = ("triggered",) if on else ("clean",)
    st.html(pictures(arrays, wanted(trained, arrays["labels"]), count=6, rows=rows))


# ---- 2. what a minimum is


def _pair_numbers() -> Numbers:
    found = pairs()
    if not found:
        return {}
    chosen = _chosen(found)
    return {
        "attack": short("attacks", found[0]["attack"]),
        "times": number(chosen["ratio"], 2),
        "sharper": str(sum(pair["ratio"] >= SHARPER for pair in found)),
        "pairs": str(len(found)),
    }


def _chosen(found: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    name = st.session_state.get("learn.pair")
    return next((pair for pair in found if pair["attack"] == name), found[0])


def _minimum(answered: bool) -> None:
    found = pairs()
    if not found:
        st.info("The pictures of this step do not ship with this version.")
        return
    if not answered:
        return
    pair = _chosen(found)
    show(pair_chart(pair), "learn.pair.chart", name="two minima", height=340)
    st.selectbox(
        "Attack",
        [pair["attack"] for pair in found],
        key="learn.pair",
        format_func=lambda name: short("attacks", name),
    )
    walk = pair["backdoored"]["distance"]
    far = [place for place, distance in enumerate(walk) if distance >= 0]
    place = st.select_slider(
        "Push both by",
        far,
        key="learn.push",
        format_func=lambda place: f"{100 * walk[place]:.0f} % of the filters",
    )
    for column, (words, name) in zip(
        st.columns(2),
        (("No backdoor", "matched"), ("With the backdoor", "backdoored")),
        strict=True,
    ):
        column.metric(f"{words}: the loss rises by", f"{pair[name]['rise'][place]:.2f} nats")


# ---- 3. the valley


def _view(race: PurifyRun) -> View:
    lane = race.sound_lanes()[0]
    return View(sides(race, lane))


def _valley_numbers() -> Numbers:
    race = library.recording()
    if race is None:
        return {}
    lane = race.sound_lanes()[0]
    found = measuring.along(race, asking.TRIGGERED)
    losses = [item.arrays["loss"] for item in found if "loss" in item.arrays]
    ends = {"before": number(losses[0][0], 2), "after": number(losses[0][-1], 2)} if losses else {}
    return {"clean": str(race.spec.num_clean), "method": lane_title(lane), **ends}


def _valley(answered: bool) -> None:
    race = library.recording()
    if race is None or not answered:
        return
    measured: list[tuple[Side, Any]] = [
        (side, run)
        for side, spec in _view(race).specs("loss_plane")
        if (run := library.find_measurement(spec.id)) is not None
    ]
    if not measured:
        st.info("The map of this step does not ship with this version.")
        return
    images = {asking.TRIGGERED: "Signs with the trigger", "clean": "Clean signs"}
    kind = st.segmented_control(
        "Measured on",
        list(images),
        key="learn.images",
        default=asking.TRIGGERED,
        required=True,
        format_func=images.__getitem__,
    )
    found = [item for item in findings([run for _, run in measured]) if item.values["data"] == kind]
    for chart in draw("planes", found, ChartOptions(log=True)):
        show(
            chart,
            f"learn.valley.{kind}",
            name="the valley",
            of=[run for _, run in measured],
            height=460,
        )


# ---- 4. natural gradient


def _steps_numbers() -> Numbers:
    found = evidence("equal_steps")
    if found is None:
        return {}
    return {
        "least": number(min(found["kl_of_weights"]), 2),
        "most": number(max(found["kl_of_weights"]), 2),
        "kl": number(found["kl"]),
    }


def _natural(answered: bool) -> None:
    found = evidence("equal_steps")
    if found is None:
        st.info("The picture of this step does not ship with this version.")
        return
    chart = equal_steps_chart(found, predictions=answered)
    show(chart, "learn.steps", name="equal steps", height=420)


# ---- 5. what holds


def _holds_numbers() -> Numbers:
    models = [
        run
        for run in library.trained()
        if run.source == "zoo" and run.spec.data == "signs" and run.spec.attack.name != "none"
    ]
    return {**_pair_numbers(), **_curvature_on_the_way(), "models": str(len(models))}


def _curvature_on_the_way() -> Numbers:
    race = library.recording()
    found = measuring.along(race, "clean") if race is not None else []
    if not found or "lambda_max" not in found[0].arrays:
        return {}
    before, after = (float(found[0].arrays["lambda_max"][end]) for end in (0, -1))
    if after >= SHARPER * before:
        said = "it is sharper, not smoother"
    else:
        said = "it is smoother" if before >= SHARPER * after else "it is no smoother than before"
    return {"lambda_before": number(before), "lambda_after": number(after), "smoother": said}


def _holds(answered: bool) -> None:
    if not answered:
        return
    for item in (evidence("summary") or {}).get("claims", []):
        st.markdown(f"- {item['claim']} **{item['verdict']}.** {item['short']}")
    st.page_link(script("start"), label="All of it on the first page", icon=":material/home:")


SHOWN = (
    Step(_door_numbers, _door),
    Step(_pair_numbers, _minimum),
    Step(_valley_numbers, _valley),
    Step(_steps_numbers, _natural),
    Step(_holds_numbers, _holds),
)
