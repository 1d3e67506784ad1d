"""The chart of the scores of layers: the layer that is tuned stands out."""

from __future__ import annotations

from dashboard.charts.chart import NOTHING
from dashboard.charts.layers import layer_chart
from dashboard.charts.style import METHODS
from tests.helpers.made_up_charts import FULL, LAYERS, pruning


def test_the_chosen_layer_stands_out() -> None:
    chart = FULL["layers"]
    assert chart.figure["data"][0]["marker"]["color"] == [
        "#888888",
        "#888888",
        METHODS["ngf"].color,
    ]
    assert chart.finding == "NGF tunes linear, whose score 14.1 is the highest of 3."
    assert layer_chart(LAYERS[:2]).finding.startswith(
        "Of 2 layers scored for NGF so far, stage2.block1.conv2 is"
    )


def test_a_pruning_chooses_no_layer() -> None:
    assert layer_chart(pruning()).finding == NOTHING
    about = {"type": "layer", "lane": "some_pruning"}
    scores = [{**about, "layer": name, "score": score} for name, score in (("a", 0.5), ("b", 2.0))]
    chart = layer_chart([*scores, *pruning()])
    assert chart.finding == "Of 2 layers scored for Some pruning so far, b is highest with 2."


def test_layers_that_are_left_out_are_told_with_the_reason() -> None:
    left = [
        {"type": "left_out", "lane": "ngf", "layer": name, "why": "it is not used."}
        for name in ("aux1", "aux2", "aux3", "aux4")
    ]
    told = "Left out for NGF: aux1: it is not used; aux2: it is not used; aux3: it is not used"
    assert layer_chart([*left, *LAYERS]).finding.endswith(f" {told}; and 1 more.")
