"""The first look: a sharp and a smooth minimum, a network that is led out of a trap, and every
attack beside benign networks. All of it measured beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from analysis import asking
from dashboard.charts.every_attack import every_attack_chart
from dashboard.charts.pair import pair_chart, pairs_finding
from dashboard.charts.ratios import interval, side
from dashboard.charts.style import number
from dashboard.charts.titles import lane_title, short
from dashboard.charts.way_out import way_out_chart
from dashboard.kit import measuring
from dashboard.kit.evidence import answer_effects, evidence, of_group, pairs
from dashboard.kit.pages import script
from dashboard.kit.show import show
from ngf.runs.store import PurifyRun

STEPS = "start.race"  # the charts that stand at the step of the race
GROUP = ("signs", "test")  # data set and images of the third picture
MEASURES = ("filter_lambda_max", "lambda_max", "fisher_trace")
_HEIGHT = 300


def show_hero(race: PurifyRun | None) -> None:
    """Three pictures in a row, as far as they were measured."""
    found = pairs()
    way = measuring.along(race, asking.TRIGGERED, "clean") if race is not None else []
    measured = evidence("sharpness")
    if not found and not way:
        return
    sharp, out, every = st.columns(3, gap="medium")
    if found:
        with sharp:
            _sharp_or_smooth(found)
    if way and race is not None:
        with out:
            _way_out(race, way)
    if measured and measured["models"]:
        with every:
            _every_attack(measured)
    said = " ".join(filter(None, [pairs_finding(found) if found else "", _not_said(measured)]))
    if said:
        st.caption(f"**What this does not say.** {said}")


def _sharp_or_smooth(found: list[Mapping[str, Any]]) -> None:
    st.header("Sharp or smooth?", anchor=False)
    st.markdown(
        "Two networks with the same loss on clean signs. Push their *weights* where it hurts most: "
        "the faster the loss rises, the *sharper* the place."
    )
    names = {pair["attack"]: pair for pair in found}
    chosen = st.session_state.get("start.pair")
    pair = names.get(chosen if isinstance(chosen, str) else "", found[0])
    show(pair_chart(pair), "start.pair.chart", name="sharp or smooth", height=_HEIGHT)
    st.selectbox(
        "Attack",
        list(names),
        key="start.pair",
        format_func=lambda name: (
            f"{short('attacks', name)}: {number(names[name]['ratio'], 2)} times as sharp"
        ),
    )


def _way_out(race: PurifyRun, way: list[Any]) -> None:
    lane = race.sound_lanes()[0]
    st.header("The way out of the trap", anchor=False)
    st.markdown(
        "A backdoor is a trap: all is well on clean signs. Watch the ball leave it as the race "
        f"below plays: {lane_title(lane)} sees clean signs only."
    )
    show(
        way_out_chart(way, lane_title(lane)),
        "start.way",
        name="the way out",
        of=[race],
        height=_HEIGHT,
        steps=STEPS,
    )
    st.page_link(
        script("geometry"),
        label="See the valley from above",
        icon=":material/landscape:",
        query_params={"run": race.id, "lane": lane},
    )


def _every_attack(measured: Mapping[str, Any]) -> None:
    st.header("Every attack", anchor=False)
    st.markdown(
        "Each mark is a network on clean signs, further right where it is sharper. What is left "
        "of that at the same loss stands below."
    )
    titles = {item["name"]: item["title"] for item in measured["measures"]}
    names = [name for name in MEASURES if name in titles]
    chosen = st.session_state.get("start.measure")
    name = chosen if chosen in names else names[0]
    models = [row for row in of_group(measured["models"], *GROUP) if row["kind"] == "final"]
    show(
        every_attack_chart(models, name, titles[name]),
        "start.every",
        name="every attack",
        height=_HEIGHT,
    )
    st.selectbox("Measure", names, key="start.measure", format_func=titles.__getitem__)


def _not_said(measured: Mapping[str, Any] | None) -> str:
    """What the statistics over all models say, with the clean loss accounted for."""
    if not measured:
        return ""
    said = []
    for question, words in (
        ("backdoored", "backdoored against benign networks, over all attacks"),
        ("purified", "networks after NGF against before"),
    ):
        told = [
            f"{row['ratio']:.2f} times as sharp on {kind} images "
            f"({interval(row['low'], row['high'])}: {side(row['low'], row['high'])})"
            for kind, images in (("training", "train"), ("test", "test"))
            for row in answer_effects(of_group(measured["effects"], GROUP[0], images))
            if row["measure"] == "lambda_max"
            if (row["question"], row["compared"]) == (question, "loss")
        ]
        if told:
            said.append(f"{words}: {', '.join(told)}")
    if not said:
        return ""
    return f"At the same clean loss, by the largest Hessian eigenvalue, {'; '.join(said)}."
