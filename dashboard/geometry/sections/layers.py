"""Traces layer by layer."""

from __future__ import annotations

import streamlit as st

from dashboard.geometry.section import Section, beside, explain, measured_on, submitted
from dashboard.kit.measuring import View
from dashboard.kit.readings import findings

TRACES = {"fisher_trace": "Fisher trace, Tr(F)", "hessian_spectrum": "Hessian trace, Tr(H)"}
CANNOT = (
    "The trace adds up all directions, so one very steep direction and many mild ones "
    "look alike. Layers with more weights have more to add up."
)


def _draw(view: View) -> bool:
    found = {name: pairs for name in TRACES if (pairs := submitted(view.specs(name)))}
    if not found:
        return False
    name = _choose(list(found))
    pairs = found[name]
    layers = [len(item.arrays.get("layers", ())) for item in findings([run for _, run in pairs])]
    beside(
        "layer_traces",
        pairs,
        f"geometry.layers.{name}",
        f"{TRACES[name]} by layer",
        height=140 + (16 + 12 * len(pairs)) * max(6, *layers),
    )
    measured_on(pairs, "error bars: standard errors")
    explain(CANNOT, "fisher" if name == "fisher_trace" else "trace")
    return True


def _choose(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return st.segmented_control(
        "Trace of",
        names,
        key="geometry.trace",
        required=True,
        format_func=TRACES.__getitem__,
        default=names[0],
        label_visibility="collapsed",
    )


SECTION = Section(
    heading="Layer by layer",
    question="Which layers do the predictions and the loss react to?",
    needs=lambda view: ("fisher_trace", "hessian_spectrum"),
    draw=_draw,
)
