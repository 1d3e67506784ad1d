"""Charts of defenses that do not fine-tune: no learning rate, no layer, numbers of their own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analysis.measures import MEASURES
from dashboard.charts.along_run import along_chart
from dashboard.charts.chart import NOTHING
from dashboard.charts.layers import layer_chart
from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.style import METHODS, lane_mark
from ngf.config import Choice, PurifySpec
from tests.helpers.run_folders import TRAIN, race_events

PRUNING = PurifySpec(parent=TRAIN.id, lanes=(Choice("some_pruning"),))
BESIDE = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"), Choice("some_pruning")))
TUNING = [event for event in race_events() if event["lane"] == "ngf"]


def pruning(steps: int = 4, lane: str = "some_pruning") -> list[dict[str, Any]]:
    """Steps of a defense that prunes: measured after every other one."""
    events = []
    for k in range(steps + 1):
        event: dict[str, Any] = {
            "type": "step",
            "lane": lane,
            "step": k,
            "steps": 4,
            "loss": None,
            "share_pruned": 0.1 * k,
            "units": 64,
            "validation": None if k == 0 else 0.99 - 0.01 * k,
        }
        if k % 2 == 0:
            event |= {"ca": 0.99 - 0.01 * k, "asr": 1 - 0.2 * k, "ra": 0.2 * k}
        events.append(event)
    return events


def masking() -> list[dict[str, Any]]:
    """Steps that tell nothing but their loss."""
    return [
        {"type": "step", "lane": "some_masks", "step": k, "steps": 2, "loss": 3.0 - k}
        for k in range(3)
    ]


def axes(chart: Any) -> list[str]:
    layout = chart.figure["layout"]
    return [value["title"]["text"] for key, value in layout.items() if key.startswith("yaxis")]


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
    assert axes(chart) == ["Tr(F), tuned layer", "Distance", "Share pruned", "Validation"]
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
    assert axes(chart) == ["Tr(F), tuned layer", "Distance", "Share pruned", "Validation"]
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


@pytest.mark.parametrize("events", [pruning(), [*TUNING, *pruning()]])
def test_a_race_of_a_pruning(events: list[dict[str, Any]]) -> None:
    chart = race_chart(BESIDE, events)
    json.dumps(chart.figure, allow_nan=False)
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "Step"
    assert "Some pruning" in chart.finding and "learning rate" not in chart.finding
    mine = [trace for trace in chart.figure["data"] if trace["name"].startswith("Some pruning")]
    assert [trace["x"] for trace in mine] == [[0, 2, 4]] * 3
    assert race_chart(BESIDE, TUNING).figure["layout"]["xaxis"]["title"]["text"] == (
        "Step of fine-tuning"
    )


def test_the_axis_reaches_as_far_as_is_planned_by_now() -> None:
    first, *rest = pruning()
    for draw, shown in ((race_chart, 1.012 * 4), (internals_chart, 4)):
        chart = draw(PRUNING, [{**first, "steps": 60}, *rest])
        assert chart.figure["layout"]["xaxis"]["range"][1] == shown
        assert "over 4 steps" in chart.alt


def test_a_pruning_chooses_no_layer() -> None:
    assert layer_chart(pruning()).finding == NOTHING
    about = {"type": "layer", "lane": "some_pruning"}
    scores = [{**about, "layer": name, "score": score} for name, score in (("a", 0.5), ("b", 2.0))]
    chart = layer_chart([*scores, *pruning()])
    assert chart.finding == "Of 2 layers scored for Some pruning so far, b is highest with 2."


def test_sharpness_along_a_pruning() -> None:
    arrays = {
        "step": np.array([0.0, 4.0]),
        "lambda_max": np.array([14.0, 7.0]),
        MEASURES["lambda_max"].error: np.array([0.5, 0.5]),
        "loss": np.ones(2),
        "distance_from_start": np.zeros(2),
    }
    tuned = arrays | {"step": np.array([0.0, 100.0])}
    chart = along_chart(BESIDE, [*TUNING, *pruning()], {"ngf": tuned, "some_pruning": arrays})
    json.dumps(chart.figure, allow_nan=False)
    below = [trace for trace in chart.figure["data"] if trace.get("yaxis") == "y2"]
    assert [trace["marker"]["symbol"] for trace in below if "marker" in trace] == [
        METHODS["ngf"].symbol,
        lane_mark("some_pruning").symbol,
    ]
    assert "Some pruning is at 7 after step 4" in chart.finding
