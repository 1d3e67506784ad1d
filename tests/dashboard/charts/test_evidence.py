"""The chart of sharpness over the models of the zoo says what the numbers say."""

from __future__ import annotations

import json

from dashboard.charts.evidence import evidence_chart
from evidence.geometry_table import rows_of
from tests.helpers.made_up_charts import ATTACKS


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
