"""Planes of several models on one floor."""

from __future__ import annotations

import numpy as np

from dashboard.charts.registry import ChartOptions, draw
from dashboard.charts.scene import scene_chart
from dashboard.charts.subject import BACKDOORED, BENIGN, Measured

AXIS = np.linspace(-1.0, 1.0, 5)


def plane(height: float) -> dict[str, np.ndarray]:
    loss = height * (AXIS[:, None] ** 2 + AXIS[None, :] ** 2)
    return {"a": AXIS, "b": AXIS, "loss": loss[None], "rate": np.ones((1, 5, 5))}


def two() -> list[Measured]:
    values = {"plane": "random", "data": "clean"}
    return [Measured(BENIGN, values, plane(1.0)), Measured(BACKDOORED, values, plane(4.0))]


def test_all_stand_on_one_floor_with_one_scale():
    (chart,) = draw("planes", two(), ChartOptions(view="surface"))
    one, other = chart.figure["data"]
    assert max(one["x"]) < min(other["x"]), "beside each other"
    assert (one["cmin"], one["cmax"]) == (other["cmin"], other["cmax"]) == (0.0, 8.0)
    assert [trace["showscale"] for trace in (one, other)] == [True, False]
    assert other["text"][0] == ["-1", "-0.5", "0", "0.5", "1"], "where it is on its own plane"
    scene = chart.figure["layout"]["scene"]
    assert scene["xaxis"]["range"][0] <= -1 and scene["xaxis"]["range"][1] >= max(other["x"])
    assert [word["text"] for word in scene["annotations"]] == ["<b>Benign</b>", "<b>Backdoored</b>"]
    assert min(word["font"]["size"] for word in scene["annotations"]) >= 12
    assert "Benign: The loss" in chart.finding and "Backdoored: The loss" in chart.finding
    assert len(chart.rows) == 50 and chart.rows[-1]["Model"] == "Backdoored"


def test_one_model_on_two_kinds_of_images_is_told_by_the_images():
    values = [{"plane": "random", "data": name} for name in ("clean", "triggered_true")]
    found = [(Measured(BACKDOORED, one, plane(1.0)), [plane(1.0)]) for one in values]
    words = scene_chart(found).figure["layout"]["scene"]["annotations"]
    assert [word["text"] for word in words] == [
        "<b>Clean images</b>",
        "<b>Triggered images, true labels</b>",
    ]


def test_nothing_measured_is_nothing_drawn():
    empty = Measured(BENIGN, {}, {})
    assert scene_chart([(empty, []), (empty, [])]).figure["data"] == []
