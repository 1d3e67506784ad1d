"""Which measure tells a backdoored model: the best at the top, beside the loss and a coin."""

from __future__ import annotations

import json

from dashboard.charts.chart import NOTHING
from dashboard.charts.detector import detector_chart
from dashboard.charts.style import GRAY
from tests.helpers.made_up_sharpness import MEASURES, sharpness


def test_measures_are_in_order_with_their_intervals() -> None:
    chart = detector_chart(sharpness()["detectors"], MEASURES)
    json.dumps(chart.figure, allow_nan=False)
    (trace,) = chart.figure["data"]
    assert trace["x"] == [0.9, 0.8, 0.65] and trace["marker"]["color"][0] == GRAY
    assert chart.figure["layout"]["shapes"][0]["x0"] == 0.5
    words = [note["text"] for note in chart.figure["layout"]["annotations"]]
    assert words == ["Clean loss alone", "Trace of the Hessian", "Largest Hessian eigenvalue"]
    assert chart.rows[1]["Backdoored found"] == "75 %"
    assert chart.finding == (
        "1 of 2 are clearly better than a coin (4 models, 2 attacks, 3 benign models). The "
        "highest: trace of the Hessian, 0.80 (0.60 to 0.90); the clean loss alone, 0.90 (0.70 to "
        "1.00)."
    )


def test_nothing_measured_is_said() -> None:
    assert detector_chart([], MEASURES).finding == NOTHING
