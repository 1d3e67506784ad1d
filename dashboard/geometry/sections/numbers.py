"""The numbers: sharpness with error bars, as bars and as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analysis.measures import MEASURES, found_by
from dashboard.charts.registry import BARS, ChartOptions
from dashboard.geometry.section import (
    Pairs,
    Section,
    beside,
    explain,
    in_words,
    measured_on,
    submitted,
)
from dashboard.kit import readings
from dashboard.kit.measuring import Side, View
from ngf.runs.folder import FINAL

FOUND_BY = ("hessian_spectrum", "fisher_trace", "sharpness")  # what finds the numbers
CANNOT = (
    "No single number is the sharpness of a model. Those that change when a layer is "
    "rescaled compare only models of one scale; those that do not may still say nothing about how "
    "well a model generalizes, which is disputed (Andriushchenko et al. 2023)."
)


def _draw(view: View) -> bool:
    found = {name: submitted(view.specs(name)) for name in FOUND_BY}
    pairs = [pair for own in found.values() for pair in own]
    if not pairs:
        return False
    _bars(found)
    going = any(run.status not in FINAL for _, run in pairs)
    (st.fragment(_table, run_every=2) if going else _table)(view)
    measured_on(
        pairs,
        "error bars: a bound for eigenvalues, one standard error for estimates; none where "
        "the digits shown are certain",
    )
    explain(CANNOT, "lambda_max", "trace", "fisher", "filter_lambda_max")
    return True


def _bars(found: dict[str, list[Any]]) -> None:
    groups = {
        measure.name: pairs
        for name, pairs in found.items()
        for measure in found_by(name)
        if measure.name in BARS and pairs
    }
    # two in a row: narrower, bars say nothing
    columns = [column for _ in range(0, len(groups), 2) for column in st.columns(2)]
    for column, (name, pairs) in zip(columns, groups.items(), strict=False):
        with column:
            beside(
                "bars",
                pairs,
                f"geometry.bars.{name}",
                MEASURES[name].symbol,
                options=[ChartOptions(value=name)] * len(pairs),
                height=130 + 36 * len(pairs),
            )


def _table(view: View) -> None:
    """All measures of all models, with their errors and what leaves each as it is; those that are
    not known yet are left out.
    """
    found = {name: submitted(view.specs(name)) for name in FOUND_BY}
    of = {side.subject.title: values_of(side, found) for side in view.sides}
    of = {model: values for model, values in of.items() if values}
    rows = [
        {
            "Measure": measure.title,
            **{model: in_words(values, measure) for model, values in of.items()},
            "Unchanged by": measure.unchanged_by,
        }
        for measure in MEASURES.values()
        if any(values.get(measure.name) is not None for values in of.values())
    ]
    if rows:
        st.table(pd.DataFrame(rows).set_index("Measure"))


def values_of(side: Side, found: dict[str, list[Any]]) -> dict[str, Any]:
    """The measures of one model with their errors, from all that find them."""
    values: dict[str, Any] = {}
    for name, pairs in found.items():
        own = {key for measure in found_by(name) for key in (measure.name, measure.error)}
        for reading in _readings(side, pairs):
            values |= {key: value for key, value in reading.values.items() if key in own}
    return values


def _readings(side: Side, pairs: Pairs) -> list[readings.Reading]:
    found = [readings.read(run) for other, run in pairs if other == side]
    return [reading for reading in found if reading is not None]


SECTION = Section(
    heading="The numbers",
    question="Sharpness with error bars, and what leaves each number as it is.",
    needs=lambda view: FOUND_BY,
    draw=_draw,
)
