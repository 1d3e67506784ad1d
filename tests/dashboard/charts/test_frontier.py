"""The frontier: lines through means, every purification visible, the rule's pick ringed."""

from __future__ import annotations

import pytest

from dashboard.charts.frontier import frontier_chart
from tests.helpers.made_up_charts import POINTS


def test_lines_go_through_means_in_the_order_of_strengths() -> None:
    line, each, ring, *_ = frontier_chart(list(reversed(POINTS))).figure["data"][3:]
    assert line["name"] == "NGF, one layer" == line["legendgroup"]
    assert rates(line) == pytest.approx([91.0, 3.0], abs=0.01)
    assert line["y"] == pytest.approx([98.0, 96.0])
    assert sorted(rates(each)) == pytest.approx([2.0, 4.0, 90.0, 92.0], abs=0.01), "both seeds"
    assert rates(ring) == pytest.approx([11.0, 11.0], abs=0.01)
    x, errors = ring["x"][0], ring["error_x"]
    ends = x + errors["array"][0], x - errors["arrayminus"][0]
    assert [end**2 for end in ends] == pytest.approx([12.0, 10.0], abs=0.01)


def rates(trace) -> list[float]:
    """Back from the scale of square roots, in percent."""
    return [x**2 for x in trace["x"]]


def test_every_method_stands_in_the_legend_once() -> None:
    without_sweep = [row for row in POINTS if row["how"] == "rule" or "sgd" in row["method"]]
    traces = frontier_chart(without_sweep).figure["data"]
    shown = [trace["name"] for trace in traces if trace.get("showlegend", True)]
    assert sorted(shown) == ["NGF, one layer", "SGD, all layers"]


def test_the_finding_is_of_what_a_defender_would_pick() -> None:
    assert frontier_chart(POINTS).finding == (
        "Of 2 methods at the strength that the rule picks, the least is left by NGF, one layer at "
        "0.002: attack success rate 11.0 % (10.0 to 12.0 over 2 seeds), clean accuracy 97.0 %; the "
        "most by SGD, all layers at 0.002: attack success rate 56.0 % (55.0 to 57.0 over 2 seeds), "
        "clean accuracy 97.0 %."
    )


def test_without_a_pick_it_is_of_the_lowest_mean() -> None:
    swept = [row for row in POINTS if row["how"] == "sweep" and row["method"].startswith("ngf")]
    chart = frontier_chart(swept)
    assert chart.finding == (
        "NGF, one layer has its lowest attack success rate, 3.0 %, at strength 0.003 with a clean "
        "accuracy of 96.0 %."
    )
    assert len(chart.table) == 4


def test_one_purification_is_its_own_mean() -> None:
    one = [row for row in POINTS if row["seed"] == 0 and row["how"] == "sweep"]
    assert [trace["mode"] for trace in frontier_chart(one).figure["data"]] == ["lines+markers"] * 2
