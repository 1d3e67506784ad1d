"""What was measured beforehand of every model in the zoo: are backdoored minima sharper, and
purified ones smoother?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from analysis import image_kinds
from analysis.measures import MEASURES
from dashboard.charts.evidence import SUBJECTS, evidence_chart, method_title
from dashboard.kit import library
from dashboard.kit.evidence import evidence
from dashboard.kit.show import show

_ANSWERS = {"yes": "✓", "mixed": "~", "no": "✗"}


def show_evidence() -> None:
    """The section, if there is evidence: a chart for one measure, and the verdicts for all of
    them.
    """
    if (found := evidence("geometry")) is None:
        return
    st.header("All models of the zoo")
    st.markdown(
        "The paper's argument has two steps: a backdoored minimum is *sharper* than a benign one, "
        "and purification makes it *smoother*. Do they hold, by which measure, for which attack?"
    )
    columns = st.columns(3)
    sets = sorted({row["data"] for row in found["rows"]}, key=lambda name: (name != "signs", name))
    data = columns[0].selectbox(
        "Data set", sets, key="evidence.data", format_func=lambda name: library.title("data", name)
    )
    own = [row for row in found["rows"] if row["data"] == data]
    kinds = [kind for kind in image_kinds.KINDS if any(row["images"] == kind for row in own)]
    images = columns[1].selectbox(
        "Measured on", kinds, key="evidence.images", format_func=image_kinds.title
    )
    own = [row for row in own if row["images"] == images]
    known = [name for name in MEASURES if any(row["measure"] == name for row in own)]
    measure = columns[2].selectbox(
        "Measure", known, key="evidence.measure", format_func=lambda name: MEASURES[name].title
    )
    attacks = {
        name: library.title("attacks", name) for name in dict.fromkeys(row["attack"] for row in own)
    }
    shown = [row for row in own if row["measure"] == measure]
    show(
        evidence_chart(shown, MEASURES[measure].title, attacks),
        f"evidence.{data}.{images}.{measure}",
        name="all models of the zoo",
        height=130 + 75 * max(1, len(attacks) - 1),
    )
    st.markdown(
        "**By every measure: for how many attacks?** ✓ all seeds agree, ~ it depends on the seed, "
        "✗ all seeds say the opposite. Choose a measure above to see for which."
    )
    st.table(pd.DataFrame([_verdicts(own, name) for name in known]).set_index("Measure"))
    seeds = max(len(row["values"]) for row in own)
    hardware = found["hardware"]
    st.caption(
        f"*Measured*: {found['num_models']} models, {seeds} seeds of each kind, "
        f"{found['num_images']:,} test images, BatchNorm in eval mode; NGF, SGD and Adam with the "
        "Lab's defaults, 100 steps on 500 clean images. A benign model has no triggered images. "
        f"{hardware['hardware']}, torch {hardware['torch']}."
    )


def _verdicts(rows: Sequence[Mapping[str, Any]], measure: str) -> dict[str, str]:
    def told(question: str, method: str) -> str:
        said = [
            row[question]
            for row in rows
            if row["measure"] == measure and row["method"] == method and question in row
        ]
        return (
            "\u2003".join(f"{mark}\u00a0{said.count(answer)}" for answer, mark in _ANSWERS.items())
            if said
            else "–"
        )

    return {
        "Measure": MEASURES[measure].title,
        "Backdoored sharper than benign": told("sharper_than_benign", "before"),
        **{
            f"Smoother {method_title(method)}": told("smoother_than_before", method)
            for method in SUBJECTS
            if method != "before"
        },
    }
