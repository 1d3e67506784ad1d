"""The chart of the loss on the line between two models."""

from __future__ import annotations

from dataclasses import replace

from analysis.image_kinds import KINDS
from dashboard.charts.loss_line import line_chart
from tests.helpers.made_up_charts import LINE


def test_every_kind_of_images_has_a_line_of_its_own() -> None:
    chart = line_chart([replace(LINE, images=kind) for kind in KINDS])
    lines = [trace["line"] for trace in chart.figure["data"] if "dash" in trace["line"]]
    assert (
        len({item["color"] for item in lines})
        == len({item["dash"] for item in lines})
        == len(KINDS)
    )
    assert "on training mix as poisoned the loss" in chart.finding
