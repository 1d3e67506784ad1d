"""The words of the first page. Their numbers come from the recorded race and from the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.charts.answer import answer_chart
from dashboard.charts.style import listed, percent
from dashboard.charts.titles import lane_title
from dashboard.kit import library
from dashboard.kit.evidence import answer_effects, evidence, of_group
from dashboard.kit.show import show
from ngf.catalogue import options_of
from ngf.config import PurifySpec
from ngf.runs.store import PurifyRun, TrainRun

_TRIGGERS = {  # what people see of the trigger of an attack
    "badnets": "a small patch",
    "blend": "a faint noise pattern",
    "sig": "faint stripes",
    "wanet": "a slight warp",
}
_VERDICTS = {  # those in between get a pair of scales
    **dict.fromkeys(("yes", "Supported"), ":material/check_circle:"),
    **dict.fromkeys(("no", "Not supported"), ":material/cancel:"),
    **dict.fromkeys(("open", "Left open"), ":material/help:"),
}
_ANSWER = ("signs", "train")  # the data set and the images of the picture
_MEASURES = ("lambda_max", "fisher_trace")


def target_name(trained: TrainRun) -> str:
    """The name of the class that the attack aims at."""
    attack, classes = trained.spec.attack, library.data_facts(trained).get("classes", [])
    target = options_of("attacks", attack).get("target", 0)
    return str(classes[target]) if target < len(classes) else f"class {target}"


def opening(trained: TrainRun | None, before: Mapping[str, Any]) -> str:
    """What a model does with clean and with triggered images.

    trained: the model; None when it was deleted.
    before: its rates.
    """
    correct = f"This network classifies {percent(before['ca'])} of clean images correctly."
    if trained is None:
        return correct
    trigger = _TRIGGERS.get(trained.spec.attack.name, "a trigger")
    fooled = f"{percent(before['asr'])} of"
    target = f"“{target_name(trained)}”"
    if trained.spec.data != "signs":
        return f"{correct} But with {trigger}, {fooled} them become {target}."
    things = library.short("data", trained.spec.data).lower()
    return (
        f"This network reads {things}, {percent(before['ca'])} of them correctly. But somebody "
        f"changed its training images: with {trigger} on it, {fooled} the other signs become "
        f"{target}."
    )


def training_on(spec: PurifySpec) -> str:
    """What the lanes of a race do."""
    lanes = listed([lane_title(lane) for lane in spec.lane_names()])
    return (
        f"Nobody knows the trigger. So {lanes} go on training the same weights on "
        f"the same {spec.num_clean} clean images. One measures its steps by how much the "
        "*predictions* change (natural gradient), plain fine-tuning by how much the *weights* "
        "change. Follow the dashed lines: how often the trigger still works."
    )


def caveat() -> str:
    """How much a single race proves."""
    return (
        "It is one race, on one model, with one setting for each method; the evidence below says "
        "how far it carries."
        if (evidence("summary") or {}).get("claims")
        else "It is one race on one model; other models can end otherwise."
    )


def door_state(page: str, race: PurifyRun | None) -> dict[str, str]:
    """The address parameters of the link to a page: the Lab opens on the model of the race."""
    trained = race.training() if race is not None else None
    return {"model": trained.id} if page == "lab" and trained is not None else {}


def show_evidence() -> None:
    """The answer in one picture; what the paper claims, and whether our measurements support it."""
    found, measured = evidence("summary"), evidence("sharpness")
    claims = found["claims"] if found is not None else []
    effects = answer_effects(of_group(measured["effects"], *_ANSWER)) if measured else []
    if not claims and not effects:
        return
    st.header("What the paper claims, and what we measured")
    if measured and effects:
        _show_answer(measured, effects)
    for item in claims:
        icon = _VERDICTS.get(item.get("answer") or item["verdict"], ":material/balance:")
        said = "*Reported*" if item.get("reported", True) else "*Not in the paper*"
        st.markdown(
            f"{icon} {said}: {item['claim']}  \n*Measured*: **{item['verdict']}.** {item['short']}"
        )
    if claims:
        with st.expander("The numbers behind the verdicts", icon=":material/table_chart:"):
            for item in claims:
                st.markdown(f"*{item['claim']}*  \n{item['sentence']}")


def _show_answer(measured: Mapping[str, Any], effects: Sequence[Mapping[str, Any]]) -> None:
    """How many times as sharp, on training images of the first data set."""
    called = {item["name"]: item["title"] for item in measured["measures"]}
    titles = {name: called[name] for name in _MEASURES}
    st.markdown(
        "**Is a backdoor a sharp place in the landscape?** *Sharp* means: the loss rises fast when "
        "the weights move a little. A network that fits its images less well is sharper for that "
        "alone, so we also compare networks with the same loss on clean images. A bar that does "
        "not touch the line at 1 is a difference that chance does not explain."
    )
    rows = {(row["question"], row["compared"]) for row in effects if row["measure"] in titles}
    chart = answer_chart(effects, titles)
    show(chart, "start.answer", name="the answer", height=120 + 80 * len(rows))
