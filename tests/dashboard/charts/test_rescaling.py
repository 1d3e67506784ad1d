"""The chart of a rescaled layer: which measures move and which do not."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.charts.rescaling import ratio, rescaling_chart
from dashboard.charts.subject import BACKDOORED, Measured

FACTORS = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
RESCALED = {
    "factor": FACTORS,
    "lambda_max": 5.0 / FACTORS**2,
    "trace": 70.0 / FACTORS**2,
    "filter_lambda_max": np.full(5, 3.0),
    "max_change": np.array([2e-6, 1e-6, 0.0, 1e-6, 3e-6]),
}


def test_rescaling_moves_some_measures_and_not_others() -> None:
    chart = rescaling_chart(Measured(BACKDOORED, {"layer": "stem"}, RESCALED), at=0.1)
    assert (
        chart.figure["layout"]["xaxis"]["type"] == chart.figure["layout"]["yaxis"]["type"] == "log"
    )
    assert chart.figure["layout"]["shapes"][0]["x0"] == 0.1
    assert ratio(RESCALED, "lambda_max", 0.1) == pytest.approx(100.0)
    assert chart.finding == (
        "From factor 0.01 to 100 no logit moves by more than 3.0e−6, but these change: largest "
        "Hessian eigenvalue by a factor of 1.00e8 and trace of the Hessian by a factor of 1.00e8; "
        "these stay within 5 %: largest eigenvalue, filter-normalized."
    )
