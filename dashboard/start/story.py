"""The words of the first page. Their numbers come from the recorded race and from the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.charts.style import listed, percent
from dashboard.charts.titles import lane_title
from dashboard.kit import library
from dashboard.kit.evidence import evidence
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
    "supported": ":material/check_circle:",
    "not supported": ":material/cancel:",
}


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
        "It is one race, on one model, at one learning rate for each method; the evidence below "
        "says how far it carries."
        if evidence("summary")
        else "It is one race on one model; other models can end otherwise."
    )


def door_state(page: str, race: PurifyRun | None) -> dict[str, str]:
    """The address parameters of the link to a page: the Lab opens on the model of the race."""
    trained = race.training() if race is not None else None
    return {"model": trained.id} if page == "lab" and trained is not None else {}


def show_evidence() -> None:
    """What the paper claims, and whether our measurements support it."""
    if (found := evidence("summary")) is None:
        return
    st.header("What the paper claims, and what we measured")
    for item in found["claims"]:
        icon = _VERDICTS.get(item["verdict"].lower(), ":material/balance:")
        st.markdown(
            f"{icon} *Reported*: {item['claim']}  \n*Measured*: **{item['verdict']}.** "
            f"{item['short']}"
        )
    with st.expander("The numbers behind the verdicts", icon=":material/table_chart:"):
        for item in found["claims"]:
            st.markdown(f"*{item['claim']}*  \n{item['sentence']}")
