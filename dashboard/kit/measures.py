"""The measures of sharpness in words: what each is called, what leaves it as it is, and a
table of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.measures import INVARIANCE, TITLES
from dashboard.charts.style import with_error

# measure -> the value that is its error bar
ERRORS = {
    "lambda_max": "lambda_max_error",
    "trace": "trace_stderr",
    "fisher_trace": "fisher_trace_stderr",
    "filter_lambda_max": "filter_lambda_max_error",
    "filter_trace": "filter_trace_stderr",
    "adaptive_lambda_max": "adaptive_lambda_max_error",
    "adaptive_trace": "adaptive_trace_stderr",
    "layer_normalized_trace": "layer_normalized_trace_stderr",
    "asam_sharpness": "",
    "fisher_rao_norm": "",
    "relative_flatness": "",
    "function_sharpness": "function_sharpness_stderr",
    "weight_norm": "",
    "loss": "loss_stderr",
}
NAMES = {**TITLES, "fisher_trace": "Fisher trace, Tr(F)", "loss": "Loss on these images (nats)"}
UNCHANGED_BY = {
    **INVARIANCE,
    "fisher_trace": (
        "None: rescaling a layer before BatchNorm by a divides that layer's share by a²."
    ),
    "loss": "Everything that leaves the predictions as they are.",
}
# measurement -> which of the measures it finds; the loss of one is enough
FOUND_BY = {
    "hessian_spectrum": ("lambda_max", "trace"),
    "fisher_trace": ("fisher_trace",),
    "sharpness": tuple(
        name for name in ERRORS if name not in ("lambda_max", "trace", "fisher_trace")
    ),
}


def table(columns: Sequence[tuple[str, dict[str, Any]]]) -> pd.DataFrame:
    """`columns`: (model, all values that were measured of it). One row a measure that at
    least one model has.
    """
    rows = [
        {
            "Measure": NAMES[name],
            **{model: _words(values, name) for model, values in columns},
            "Unchanged by": UNCHANGED_BY[name],
        }
        for name in ERRORS
        if any(values.get(name) is not None for _, values in columns)
    ]
    return pd.DataFrame(rows)


def _words(values: dict[str, Any], name: str) -> str:
    """`11.1 ± 0.065`"""
    if values.get(name) is None:
        return "–"
    error = values.get(ERRORS[name])
    return with_error(values[name], error)
