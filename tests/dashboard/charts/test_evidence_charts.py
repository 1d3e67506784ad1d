"""The charts of the zoo's evidence and of a bend say what the numbers say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dashboard.charts.bend import bend_chart
from dashboard.charts.chart import NOTHING
from dashboard.charts.evidence import evidence_chart
from dashboard.charts.removal import removal_chart
from evidence.geometry_table import rows_of

ATTACKS = {"none": "None", "badnets": "BadNets (patch)", "blend": "Blend (noise over all)"}


def rows(**values: list[float]) -> list[dict]:
    """Rows of λmax on clean images; a name is `attack_method`, a list has one value per seed."""
    found = {
        ("signs", *name.split("_"), "clean", "lambda_max"): dict(enumerate(numbers))
        for name, numbers in values.items()
    }
    return rows_of(found)


def test_verdicts_need_every_seed() -> None:
    made = rows(
        none_before=[1, 2, 3],
        badnets_before=[4, 5, 6],
        blend_before=[2, 5, 6],
        badnets_ngf=[3, 4, 5],
        blend_ngf=[1, 6, 7],
        badnets_sgd=[5, 6, 7],
    )
    said = {
        (row["attack"], row["method"]): (
            row.get("sharper_than_benign"),
            row.get("smoother_than_before"),
        )
        for row in made
    }
    assert said == {
        ("none", "before"): (None, None),
        ("badnets", "before"): ("yes", None),
        ("blend", "before"): ("mixed", None),
        ("badnets", "ngf"): (None, "yes"),
        ("blend", "ngf"): (None, "mixed"),
        ("badnets", "sgd"): (None, "no"),
    }
    chart = evidence_chart(made, "λmax", ATTACKS)
    json.dumps(chart.figure, allow_nan=False)
    assert chart.finding == (
        "All backdoored models are sharper than all benign ones for BadNets; NGF makes every "
        "model smoother for BadNets and sharper for no attack; where an attack is not named, it "
        "depends on the seed."
    )
    assert (
        chart.table.query("Attack == 'BadNets (patch)' and Model == 'Backdoored'")["Mean"].item()
        == 5
    )
    (band,) = chart.figure["layout"]["shapes"]
    assert (band["x0"], band["x1"]) == (1, 3)
    assert (
        sum(len(trace["x"]) for trace in chart.figure["data"] if trace["name"] == "after NGF") == 6
    )


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


@pytest.mark.parametrize(
    ("line", "bend", "words"),
    [
        ([0.1, 0.1, 0.2], [0.1, 0.1, 0.2], "The straight line has no hill"),
        (
            [0.1, 3.0, 0.2],
            [0.1, 0.5, 0.2],
            "The highest loss on the bend is 0.5 after 60 training steps, below the 3",
        ),
        ([0.1, 3.0, 0.2], [0.1, 2.95, 0.2], "no lower than the 3 of the straight line"),
    ],
)
def test_a_bend_says_whether_it_goes_around(
    line: list[float], bend: list[float], words: str
) -> None:
    arrays = {
        "t": np.array([0.0, 0.5, 1.0]),
        "loss": np.array(bend),
        "line_loss": np.array(line),
        "ca": np.ones(3),
        "line_ca": np.ones(3),
    }
    values = {
        "highest_line": max(line),
        "highest_bend": max(bend),
        "loss_start": 0.1,
        "loss_end": 0.2,
        "steps_done": 60,
    }
    chart = bend_chart(values, arrays)
    assert words in chart.finding
    assert [trace["name"] for trace in chart.figure["data"]] == ["Trained bend", "Straight line"]
    assert len(chart.table) == 6
    assert bend_chart({}, {}).finding == NOTHING
