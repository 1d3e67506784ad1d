"""The words of the first page. Every number in them comes from the recorded run, none is
written here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.style import percent
from dashboard.charts.titles import lane_title
from dashboard.kit import library
from ngf import places
from ngf.catalogue import catalogue
from ngf.config import PurifySpec
from ngf.runs.store import Run

_TRIGGERS = {
    "badnets": "a small patch",
    "blend": "a faint noise pattern",
    "sig": "faint stripes",
    "wanet": "a slight warp",
}
_VERDICTS = {
    "supported": ":material/check_circle:",
    "holds": ":material/check_circle:",
    "not supported": ":material/cancel:",
    "fails": ":material/cancel:",
}


def target_name(model: Run) -> str:
    """Name of the class that the attack aims at."""
    attack, classes = model.spec.attack, library.data_facts(model).get("classes", [])
    defaults = {
        item["name"]: item["default"] for item in catalogue()["attacks"][attack.name]["fields"]
    }
    target = attack.options.get("target", defaults.get("target", 0))
    return classes[target] if target < len(classes) else f"class {target}"


def opening(model: Run | None, result: Mapping[str, Any]) -> str:
    """What the model does on clean and on triggered images."""
    before = result["before"]
    if model is None:
        return f"This network classifies {percent(before['ca'])} of clean images correctly."
    trigger = _TRIGGERS.get(model.spec.attack.name, "a trigger")
    things = library.short("data", model.spec.data).lower()
    return (
        f"This network reads {things}, {percent(before['ca'])} of them correctly. But somebody "
        f"changed its training images: with {trigger} on it, {percent(before['asr'])} of the other "
        f"signs become “{target_name(model)}”."
        if model.spec.data == "signs"
        else f"This network classifies {percent(before['ca'])} of clean images correctly. But with "
        f"{trigger}, {percent(before['asr'])} of them become “{target_name(model)}”."
    )


def training_on(spec: PurifySpec) -> str:
    """What the lanes of the race do."""
    lanes = [lane_title(lane) for lane in spec.lane_names()]
    return (
        f"Nobody knows the trigger. So {' and '.join(lanes)} go on training the same weights on "
        f"the same {spec.num_clean} clean images. One measures its steps by how much the "
        "*predictions* change (natural gradient), plain fine-tuning by how much the *weights* "
        "change. Follow the dashed lines: how often the trigger still works."
    )


def caveat() -> str:
    """The frame around a single race."""
    return (
        "It is one race, on one model, at one learning rate for each method; the evidence below "
        "says how far it carries."
        if _evidence()
        else "It is one race on one model; other models can end otherwise."
    )


def door_state(page: str, race: Run | None) -> dict[str, str]:
    """Where a door leads: the Lab opens on the model of the race."""
    model = race.training() if race is not None else None
    return {"model": model.id} if page == "lab" and model is not None else {}


def _evidence() -> dict[str, Any]:
    path = places.ASSETS / "evidence" / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def show_evidence() -> None:
    """What the paper claims, and what our measurements say of it: support or not."""
    found = _evidence()
    if not found:
        return
    claims = found["claims"]
    st.header("What the paper claims, and what we measured")
    for item in claims:
        icon = _VERDICTS.get(item["verdict"].lower(), ":material/balance:")
        st.markdown(
            f"{icon} *Reported*: {item['claim']}  \n*Measured*: **{item['verdict']}.** "
            f"{item['short']}"
        )
    with st.expander("The numbers behind the verdicts", icon=":material/table_chart:"):
        for item in claims:
            st.markdown(f"*{item['claim']}*  \n{item['sentence']}")
        table = pd.DataFrame([_row(row) for row in found["table"]])
        st.dataframe(table, hide_index=True, width="stretch")
        st.caption(
            "*Measured*: mean (lowest–highest) over seeds 0 to "
            f"{found['table'][0]['ca']['n'] - 1}; the whole test set; {found['num_clean']} clean "
            "images; λmax and Tr(H) on 512 clean test images. “Rate by rule”, SGD and Adam: the "
            "largest learning rate that keeps clean validation accuracy within one point. "
            f"{found['hardware']['hardware']}, torch {found['hardware']['torch']}."
        )
        st.download_button(
            "CSV",
            table.to_csv(index=False),
            "evidence.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
            key="start.evidence.csv",
        )
        st.markdown(
            "**Which layer?** Attack success after NGF on the layer that clean images point to, "
            "and on the best layer in hindsight, which only someone who knows the trigger can "
            "find."
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
        "CA (%)": told("ca", 100),
        "ASR (%)": told("asr", 100),
        "RA (%)": told("ra", 100),
        "λmax": told("lambda_max", 1),
        "Tr(H)": told("trace", 1),
        "Layer": ", ".join(dict.fromkeys(filter(None, row["layers"]))),
    }
