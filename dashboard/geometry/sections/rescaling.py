"""The demonstration: a layer is rescaled, no prediction changes, and yet the sharpness does."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.registry import ChartOptions
from dashboard.charts.rescaling import ratio
from dashboard.charts.style import number
from dashboard.geometry.sections import asked, beside, facts, words
from dashboard.kit import library
from dashboard.kit.measuring import View
from dashboard.kit.readings import findings


def show_rescaling(view: View) -> bool:
    """Slider, three numbers and the chart; says whether somebody asked for the measurement."""
    pairs = asked(view.specs("rescaling"))
    if not pairs:
        return False
    found = findings([pairs[0][1]])[0]
    at = 1.0
    if len(found.arrays.get("factor", ())) > 1:
        factors = [float(f"{factor:.6g}") for factor in found.arrays["factor"]]
        if st.session_state.get("geometry.factor") not in factors:
            st.session_state["geometry.factor"] = factors[0]
        layer = library.plain(str(found.values.get("layer", "")))
        at = st.select_slider(
            f"Multiply the weights of {layer} by",
            factors,
            key="geometry.factor",
            format_func=number,
            help="The BatchNorm after this layer divides the factor out again.",
        )
        _numbers(found.arrays, at)
    beside(
        "rescaling",
        pairs,
        "geometry.rescaling",
        "rescaled layer",
        options=[ChartOptions(at=at)] * len(pairs),
        height=430,
    )
    facts(
        pairs,
        f"{pairs[0][0].subject.phrase}; each factor is measured on the rescaled network itself",
    )
    words("rescaling", "rescaling", "lambda_max", "filter_lambda_max")
    return True


def _numbers(arrays: dict, at: float) -> None:
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
