"""The words of the first page. Their numbers come from the recorded race and from the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.rates import RATES
from dashboard.charts.style import listed, percent
from dashboard.charts.titles import lane_title
from dashboard.kit import library
from dashboard.kit.evidence import evidence
from dashboard.kit.spreadsheet import as_csv
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
        _show_methods(found)
        _show_layers(found)


def _show_methods(found: Mapping[str, Any]) -> None:
    """The table of attacks and methods, and what its numbers are of."""
    table = pd.DataFrame([_row(row) for row in found["table"]])
    st.dataframe(table, hide_index=True, width="stretch")
    st.caption(
        "*Measured*: mean (lowest–highest) over seeds 0 to "
        f"{found['table'][0]['ca']['n'] - 1}; the whole test set; {found['num_clean']} clean "
        f"images; λmax and Tr(H) on {found['num_curvature_images']:,} clean test images. “Rate by "
        "rule”, SGD and Adam: the largest learning rate that keeps clean validation accuracy "
        f"within one point. {found['hardware']['hardware']}, torch {found['hardware']['torch']}."
    )
    st.download_button(
        "CSV",
        as_csv(table),
        "evidence.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
        key="start.evidence.csv",
    )


def _show_layers(found: Mapping[str, Any]) -> None:
    """What the choice of the layer does."""
    st.markdown(
        "**Which layer?** Attack success rate after NGF on the layer that clean images point to, "
        "and on the best layer in hindsight, which only someone who knows the trigger can find."
    )
    st.dataframe(
        pd.DataFrame([_layers(net) for net in found["layers"]]),
        hide_index=True,
        width="stretch",
    )


def _layers(net: Mapping[str, Any]) -> dict[str, Any]:
    def told(name: str) -> str:
        return f"{net[name]['layer']}: {100 * net[name]['asr']:.1f} %"

    return {
        "Model": library.title("models", net["model"]),
        "Attack": library.title("attacks", net["attack"]),
        "Seed": net["seed"],
        "auto": told("auto layer"),
        "fisher": told("fisher layer"),
        "Hindsight": told("best layer in hindsight"),
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    def told(name: str, factor: float) -> str:
        about = row.get(name)
        if about is None:
            return "–"
        low, high = (factor * edge(about["values"]) for edge in (min, max))
        digits = 1 if factor == 100 else 0
        return f"{factor * about['mean']:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"

    return {
        "Attack": library.title("attacks", row["attack"]),
        "Method": row["method"],
        **{f"{rate.short} (%)": told(rate.key, 100) for rate in RATES},
        "λmax": told("lambda_max", 1),
        "Tr(H)": told("trace", 1),
        "Layer": ", ".join(dict.fromkeys(filter(None, row["layers"]))),
    }
