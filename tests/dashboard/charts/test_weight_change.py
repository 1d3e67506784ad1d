"""How far each layer was moved, drawn and told."""

from __future__ import annotations

import pytest

from dashboard.charts.weight_change import height, weight_change_chart
from ngf.export.weight_change import LayerChange

STEM, HEAD = LayerChange("stem", 200, 200, 0.5, 10.0), LayerChange("head", 50, 5, 3.0, 2.0)
STILL = LayerChange("stem", 200, 0, 0.0, 10.0)
ZERO = LayerChange("head", 50, 50, 3.0, 0.0)
FOUND = {"ngf": [STEM, HEAD], "sgd": [STILL, ZERO]}


def test_each_layer_has_a_row_and_each_lane_a_mark():
    chart = weight_change_chart(FOUND)
    (ngf,) = chart.figure["data"]
    assert ngf["x"] == pytest.approx([5.0, 150.0]) and ngf["y"] == ["stem", "head"]
    assert chart.figure["layout"]["yaxis"]["categoryarray"] == ["head", "stem"], "first at the top"
    assert chart.rows[0] == {
        "Layer": "stem",
        "Parameters": "200",
        "NGF": "5.0 %",
        "SGD": "unchanged",
    }
    assert chart.rows[1]["NGF"] == "150.0 %, 10.0 % changed"
    assert chart.rows[1]["SGD"] == "it was zero"
    assert chart.rows[2]["Layer"] == "All layers" and chart.rows[2]["Parameters"] == "250"


def test_the_finding_says_how_much_and_where():
    said = weight_change_chart(FOUND).finding
    assert "NGF changed 205 of 250 parameters (82.0 %), most in head (150.0 %) and stem" in said
    nothing = weight_change_chart({"sgd": [STILL]})
    assert nothing.finding == "SGD changed no parameter." and not nothing.figure["data"]


def test_names_of_layers_are_text():
    evil = LayerChange("<b>x</b>", 1, 1, 1.0, 1.0)
    (trace,) = weight_change_chart({"ngf": [evil]}).figure["data"]
    assert trace["y"] == ["&lt;b&gt;x&lt;/b&gt;"]


def test_it_grows_with_the_layers():
    assert height({"ngf": [STEM] * 20}) > height(FOUND) > 100
