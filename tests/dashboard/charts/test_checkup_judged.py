"""How far a checkup can be believed, as it ships."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.verdict import DETECTORS, shipped_reference
from dashboard.charts.checkup_judged import RULES, judged_chart, roc_chart


def test_every_detector_and_both_verdicts_stand_in_one_picture():
    found = shipped_reference()
    chart = judged_chart(found)
    assert len(chart.rows) == len(DETECTORS) + 1 + len(RULES)
    auc = {row["Measure"]: row["AUC"] for row in chart.rows}
    assert auc["Verdict"] == found["rules"]["family"]["auc"]["value"]
    assert "Clean loss alone" in auc
    json.dumps(chart.figure, allow_nan=False)


@pytest.mark.parametrize("rule", list(RULES))
def test_the_curve_goes_from_nobody_to_everybody(rule):
    found = shipped_reference()
    chart = roc_chart(found, rule)
    x, y = chart.figure["data"][1]["x"], chart.figure["data"][1]["y"]
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert x == sorted(x) and y == sorted(y)
    # the same models, but compared across folds: close to the AUC within them
    area = float(np.trapezoid(y, x))
    assert area == pytest.approx(found["rules"][rule]["auc"]["value"], abs=0.06)
    said = chart.finding
    assert f"{found['rules'][rule]['n']['benign']} benign models" in said and "cannot tell" in said


def test_attacks_that_it_does_not_find_are_named():
    found = shipped_reference()
    rule = found["rules"]["family"] | {"found_by": {"sig": 0.0, "badnets": 1.0}}
    said = roc_chart({**found, "rules": {"family": rule}}).finding
    assert said.endswith("It does not find SIG.")
