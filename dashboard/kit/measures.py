"""A table of the measures of sharpness: values with their errors, and what leaves each as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.measures import MEASURES, Measure
from dashboard.charts.style import with_error


def table(columns: Sequence[tuple[str, dict[str, Any]]]) -> pd.DataFrame:
    """`columns`: (model, all values that were measured of it). One row per measure that at least
    one model has.
    """
    rows = [
        {
            "Measure": measure.title,
            **{model: _words(values, measure) for model, values in columns},
            "Unchanged by": measure.unchanged_by,
        }
        for measure in MEASURES.values()
        if any(values.get(measure.name) is not None for _, values in columns)
    ]
    return pd.DataFrame(rows)


def _words(values: dict[str, Any], measure: Measure) -> str:
    """`11.1 ± 0.065`"""
    if values.get(measure.name) is None:
        return "–"
    return with_error(values[measure.name], values.get(measure.error))
