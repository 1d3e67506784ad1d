"""The frontier: lines through means, every purification visible, the rule's pick ringed."""

from __future__ import annotations

import pytest

from dashboard.charts.frontier import frontier_chart
from tests.helpers.made_up_charts import POINTS


def test_lines_go_through_means_in_the_order_of_strengths() -> None:
    line, each, ring, *_ = frontier_chart(list(reversed(POINTS))).figure["data"][3:]
    assert line["name"] == "NGF, one layer" == line["legendgroup"]
    assert line["x"] == pytest.approx([91.0, 3.0]) and line["y"] == pytest.approx([98.0, 96.0])
    assert sorted(each["x"]) == pytest.approx([2.0, 4.0, 90.0, 92.0]), "both seeds are visible"
    assert ring["x"] == pytest.approx([11.0])
    assert (ring["error_x"]["array"], ring["error_x"]["arrayminus"]) == ([1.0], [1.0])


def test_the_finding_is_of_what_a_defender_would_pick() -> None:
    assert frontier_chart(POINTS).finding == (
        "NGF, one layer at the picked strength 0.002 has an attack success rate of 11.0 % (10.0 to "
        "12.0 over 2 seeds) and a clean accuracy of 97.0 %; SGD, all layers at the picked strength "
        "0.002 has an attack success rate of 56.0 % (55.0 to 57.0 over 2 seeds) and a clean "
        "accuracy of 97.0 %."
    )


def test_without_a_pick_it_is_of_the_lowest_mean() -> None:
    swept = [row for row in POINTS if row["how"] == "sweep" and row["method"].startswith("ngf")]
    chart = frontier_chart(swept)
    assert chart.finding == (
        "NGF, one layer has its lowest attack success rate, 3.0 %, at strength 0.003 with a clean "
        "accuracy of 96.0 %."
    )
    assert not chart.figure["layout"]["annotations"] and len(chart.table) == 4


def test_one_purification_is_its_own_mean() -> None:
    one = [row for row in POINTS if row["seed"] == 0 and row["how"] == "sweep"]
    assert [trace["mode"] for trace in frontier_chart(one).figure["data"]] == ["lines+markers"] * 2
