"""The demonstration: a layer is rescaled, no prediction changes, and yet the sharpness does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from dashboard.charts.registry import ChartOptions
from dashboard.charts.rescaling import ratio
from dashboard.charts.style import number
from dashboard.charts.subject import Measured
from dashboard.geometry.section import Section, beside, explain, measured_on, submitted
from dashboard.kit import library
from dashboard.kit.measuring import View
from dashboard.kit.readings import findings

CANNOT = (
    "That a measure stays here does not make it right: it may react to other changes "
    "that keep the predictions, and one that does not move at all is as useless as one that moves "
    "freely."
)


def _draw(view: View) -> bool:
    pairs = submitted(view.specs("rescaling"))
    if not pairs:
        return False
    (found,) = findings([pairs[0][1]])
    at = 1.0
    if len(found.arrays.get("factor", ())) > 1:
        at = _choose(found)
        _numbers(found.arrays, at)
    beside(
        "rescaling",
        pairs,
        "geometry.rescaling",
        "rescaled layer",
        options=[ChartOptions(at=at)] * len(pairs),
        height=430,
    )
    measured_on(
        pairs,
        f"{pairs[0][0].subject.phrase}; each factor is measured on the rescaled network itself",
    )
    explain(CANNOT, "rescaling", "lambda_max", "filter_lambda_max")
    return True


def _choose(found: Measured) -> float:
    factors = [float(f"{factor:.6g}") for factor in found.arrays["factor"]]
    if st.session_state.get("geometry.factor") not in factors:
        st.session_state["geometry.factor"] = factors[0]
    layer = library.plain(str(found.values.get("layer", "")))
    return st.select_slider(
        f"Multiply the weights of {layer} by",
        factors,
        key="geometry.factor",
        format_func=number,
        help="The BatchNorm after this layer divides the factor out again.",
    )


def _numbers(arrays: Mapping[str, np.ndarray], at: float) -> None:
    factors = arrays["factor"]
    change = float(arrays["max_change"][abs(factors - at).argmin()])
    shown = [
        (
            "Predictions changed by at most",
            number(change, 2),
            "Largest change of a logit on these images.",
        )
    ]
    for name, word in (("lambda_max", "λmax"), ("filter_lambda_max", "Filter-normalized λmax")):
        times = ratio(arrays, name, at)
        if times is not None:
            shown.append(
                (
                    f"{word} is multiplied by",
                    number(times),
                    "Compared with the model as it is (factor 1).",
                )
            )
    for column, (label, value, about) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(label, value, help=about)


SECTION = Section(
    heading="Same predictions, other sharpness",
    question="What does a layer's scale do to sharpness when no prediction changes?",
    needs=lambda view: ("rescaling",),
    draw=_draw,
)
