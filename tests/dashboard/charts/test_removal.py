"""The chart of attack success rates before and after purification says what the numbers say."""

from __future__ import annotations

import json

from dashboard.charts.chart import NOTHING
from dashboard.charts.removal import removal_chart
from tests.helpers.made_up_charts import ATTACKS


def removal(attack: str, seed: int, **asr: float) -> dict:
    """A model before and after; clean accuracy falls by two points with NGF."""
    made = {
        method: {
            "ca": 0.97 if method == "ngf" else 0.99,
            "asr": value,
            "ra": 1 - value,
            "n_clean": 100,
            "n_triggered": 90,
            "layer": "conv1",
        }
        for method, value in asr.items()
    }
    return {"attack": attack, "seed": seed, "before": made.pop("before"), "after": made}


def test_the_chart_of_removal_says_where_ngf_fails_and_where_others_do_better() -> None:
    rows = [
        removal("badnets", seed, before=1.0, ngf=0.02 + 0.01 * seed, sgd=0.5, adam=0.9)
        for seed in (0, 1)
    ]
    rows += [
        removal("blend", seed, before=0.9, ngf=0.4, sgd=0.5, adam=0.1 + 0.2 * seed)
        for seed in (0, 1)
    ]
    chart = removal_chart(rows, ATTACKS, 0.1)
    json.dumps(chart.figure, allow_nan=False)
    assert chart.finding == (
        "NGF brings the attack success rate of every model to 10 % or less for BadNets, and of no "
        "model to 10 % or less for Blend. NGF costs at most 2.0 points of clean accuracy. It does "
        "better than SGD and Adam with every seed for BadNets. SGD or Adam does better with every "
        "seed for Blend."
    )
    (ngf,) = [trace for trace in chart.figure["data"] if trace["name"] == "after NGF"]
    assert ngf["x"] == [2.0, 3.0, 40.0, 40.0]
    assert len(chart.table) == 16
    assert removal_chart([], ATTACKS, 0.1).finding == NOTHING
