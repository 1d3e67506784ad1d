"""The chart of the steps of a purification: the panels that each lane gets for what it tells."""

from __future__ import annotations

import json
from typing import Any

from dashboard.charts.progress import internals_chart
from dashboard.charts.style import lane_mark
from ngf.config import Choice, PurifySpec
from tests.helpers.made_up_charts import BESIDE, FULL, PRUNING, TUNING, pruning
from tests.helpers.run_folders import RACE, TRAIN


def masking() -> list[dict[str, Any]]:
    """Steps that tell nothing but their loss."""
    return [
        {"type": "step", "lane": "some_masks", "step": k, "steps": 2, "loss": 3.0 - k}
        for k in range(3)
    ]


def axes(chart: Any) -> list[str]:
    layout = chart.figure["layout"]
    return [value["title"]["text"] for key, value in layout.items() if key.startswith("yaxis")]


def test_internals_have_two_panels_and_survive_missing_values() -> None:
    traces = FULL["internals"].figure["data"]
    assert [(trace["name"], trace["yaxis"]) for trace in traces] == [
        ("NGF", "y"),
        ("SGD", "y"),
        ("NGF", "y2"),
        ("SGD", "y2"),
    ]
    bare = [
        {
            "type": "step",
            "lane": "sgd",
            "step": k,
            "steps": 2,
            "distance": None,
            "fisher_trace": None,
        }
        for k in range(3)
    ]
    assert internals_chart(RACE, bare).finding == "The steps have not been recorded in detail."


def test_internals_show_what_a_pruning_tells_of_itself() -> None:
    chart = internals_chart(PRUNING, pruning())
    json.dumps(chart.figure, allow_nan=False)
    assert axes(chart) == ["Share pruned", "Validation"], "what never changes has no panel"
    assert list(chart.table) == [
        "Lane",
        "Step",
        "Training loss",
        "Share pruned",
        "Units",
        "Validation",
    ]
    assert chart.finding == (
        "Some pruning: share pruned went from 0 to 0.4 and validation went from 0.98 to 0.95."
    )
    assert chart.alt.startswith("Line chart of “share pruned” and of “validation”, over 4 steps.")
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "Step"
    assert [trace["line"]["color"] for trace in chart.figure["data"]] == [
        lane_mark("some_pruning").color
    ] * 2


def test_internals_of_a_pruning_beside_fine_tuning() -> None:
    chart = internals_chart(BESIDE, [*TUNING, *pruning()])
    json.dumps(chart.figure, allow_nan=False)
    assert axes(chart) == ["Tr(F), tuned layers", "Distance", "Share pruned", "Validation"]
    assert [(trace["name"], trace["yaxis"]) for trace in chart.figure["data"]] == [
        ("NGF", "y"),
        ("NGF", "y2"),
        ("Some pruning", "y3"),
        ("Some pruning", "y4"),
    ]
    assert [trace["showlegend"] for trace in chart.figure["data"]] == [True, False, True, False]
    layout = chart.figure["layout"]
    assert layout["xaxis"]["anchor"] == "y4" and layout["xaxis"]["title"]["text"] == "Step"
    domains = [layout[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3", "yaxis4")]
    assert domains[0][1] == 1 and domains[-1][0] == 0
    assert all(above[0] > below[1] for above, below in zip(domains, domains[1:], strict=False))
    assert layout["yaxis"]["type"] == "log" and "type" not in layout["yaxis3"]
    assert chart.finding.startswith("NGF has moved the weights by ")
    assert "; Some pruning: share pruned went from 0 to 0.4" in chart.finding
    assert {"Learning rate", "Share pruned"} <= set(chart.table)


def test_a_lane_that_prunes_first_and_tunes_then_has_both() -> None:
    tuned = [{**event, "lane": "some_pruning", "step": 5 + event["step"]} for event in TUNING]
    chart = internals_chart(PRUNING, [*pruning(), *tuned])
    assert axes(chart) == ["Tr(F), tuned layers", "Distance", "Share pruned", "Validation"]
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "Step"
    assert chart.finding.startswith("Some pruning has moved the weights by 1.93 while Tr(F)")
    assert "(share pruned went from 0 to 0.4 and validation" in chart.finding


def test_where_there_is_nothing_but_a_loss_it_is_drawn() -> None:
    spec = PurifySpec(parent=TRAIN.id, lanes=(Choice("some_masks"),))
    chart = internals_chart(spec, masking())
    assert axes(chart) == ["Training loss"]
    assert chart.finding == "Some masks: training loss went from 3 to 1."
    first = internals_chart(PRUNING, pruning(0))
    assert first.figure["data"] == [] and len(first.table) == 1
    assert first.finding == first.alt == "The steps have not been recorded in detail."
