"""The charts of attack success rates before and after purification say what the numbers say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dashboard.charts.chart import NOTHING
from dashboard.charts.removal import attack_chart, removal_chart
from tests.helpers.made_up_charts import ATTACKS


def model(attack: str, method: str, seed: int, asr: float | None, reach: float = 0.0) -> dict:
    """A row of the table `models`: ASR with its ends `reach` away."""
    made: dict[str, Any] = {
        "how": "default" if method != "before" else "before",
        "attack": attack,
        "method": method,
        "run": f"{attack}-{seed}",
        "model_seed": seed,
        "purification_seeds": 0 if method == "before" else 5,
        "diverged": 5 if asr is None else 0,
        "strength": 0.1,
        "layer": "conv1",
    }
    for rate, value in (("ca", 0.99), ("asr", asr), ("ra", None if asr is None else 1 - asr)):
        made[rate] = None if asr is None else value
        for end, sign in (("low", -1), ("high", 1)):
            made[f"{rate}_{end}"] = None if asr is None else value + sign * reach
    return made


ROWS = [
    model(attack, method, seed, asr + 0.02 * seed, 0.0 if method == "before" else 0.1)
    for attack, of in (
        ("badnets", {"before": 0.9, "ngf, one layer": 0.2, "sgd, all layers": 0.6}),
        ("blend", {"before": 0.8, "ngf, one layer": 0.4, "sgd, all layers": 0.3}),
    )
    for method, asr in of.items()
    for seed in (0, 1)
]


def test_each_model_has_a_mark_and_the_reach_of_its_purifications() -> None:
    chart = removal_chart(ROWS, ATTACKS)
    json.dumps(chart.figure, allow_nan=False)
    (ngf,) = [trace for trace in chart.figure["data"] if trace["name"] == "NGF, one layer"]
    assert ngf["x"] == pytest.approx([20.0, 22.0, 40.0, 42.0])
    assert ngf["error_x"]["array"] == pytest.approx([10.0] * 4)
    assert ngf["y"][0] == ngf["y"][1] != ngf["y"][2]
    assert "10.0 % to 30.0 % over 5 purification seeds" in ngf["customdata"][0]
    assert len(chart.table) == 12
    assert chart.finding == (
        "Mean attack success rate over BadNets and Blend: before 86.0 %, after NGF, one layer "
        "31.0 %, after SGD, all layers 46.0 %. Purifications of one model differ by up to 20 "
        "points (NGF, one layer, BadNets, model of seed 0)."
    )
    assert removal_chart([], ATTACKS).finding == NOTHING


def test_one_attack_has_its_methods_below_each_other() -> None:
    rows = [row for row in ROWS if row["attack"] == "badnets"]
    rows.append(model("badnets", "adam, all layers", 0, None))
    chart = attack_chart(rows, ATTACKS)
    axis = chart.figure["layout"]["yaxis"]
    assert axis["ticktext"] == [
        "Backdoored",
        "NGF, one layer",
        "SGD, all layers",
        "Adam, all layers",
    ]
    places = [trace["y"] for trace in chart.figure["data"]]
    assert [round(sum(of) / len(of)) for of in places[:3]] == [0, 1, 2] and places[3] == []
    assert chart.finding.startswith(
        "Attack success rate, mean over models: before 91.0 %, after NGF, one layer 21.0 %, after "
        "SGD, all layers 61.0 %. Purifications"
    )
    assert chart.table["Diverged"].to_list()[-1] == 5
