"""The chart of the loss on a plane, as a map and as a surface."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dashboard.charts.loss_plane import VIEWS, plane_chart
from dashboard.charts.registry import ChartOptions, draw
from dashboard.charts.subject import BACKDOORED, BENIGN, Measured, Subject
from tests.helpers.made_up_charts import NGF, PLANE, plane


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("log", [False, True])
def test_a_plane_is_a_map_or_a_surface(view: str, log: bool) -> None:
    chart = plane_chart(Measured(BACKDOORED, PLANE, plane()), view=view, log=log)
    assert len(json.dumps(chart.figure, allow_nan=False)) < 100_000
    ground, models = chart.figure["data"]
    assert (ground["type"], models["type"]) == (
        ("surface", "scatter3d") if view == "surface" else ("contour", "scatter")
    )
    assert ground["colorscale"] == "Cividis" and len(ground["z"]) == 7 and len(ground["z"][0]) == 9
    assert ("scene" in chart.figure["layout"]) == (view == "surface")
    center = ground["z"][3][4]
    assert center == pytest.approx(-1.0 if log else 0.1)
    if log:
        assert "0.1" in ground["colorbar"]["ticktext"], "the scale is named by the loss"
    assert len(chart.table) == 63 and list(chart.table) == [
        "a",
        "b",
        "Loss",
        "Right answers",
        "Measured",
    ]


def test_models_on_planes_share_colors_heights_and_axes() -> None:
    found = [
        Measured(BACKDOORED, PLANE, plane(4.0)),
        Measured(NGF, PLANE, plane(1.0)),
    ]
    for view, ends in (("contour", ("zmin", "zmax")), ("surface", ("cmin", "cmax"))):
        charts = draw("planes", found, ChartOptions(view=view))  # on one floor, or one for each
        traces = [trace for chart in charts for trace in chart.figure["data"]]
        scales = [[trace[end] for end in ends] for trace in traces if ends[0] in trace]
        assert scales[0] == scales[1] == [0.0, pytest.approx(12.1)]


def test_a_plane_says_how_much_of_it_is_measured() -> None:
    assert plane_chart(Measured(BENIGN, PLANE, plane())).finding == (
        "The loss of the benign model is 0.1 at the origin and at most 3.1; it stays below 1 on "
        "33 % of this plane."
    )
    half = plane_chart(Measured(BENIGN, PLANE, plane(known=0.5))).finding
    assert half.endswith(
        "Measured so far: 51 % of the points; the others are filled in from their neighbors."
    )
    three = Measured(BENIGN, PLANE, plane(planes=3))
    assert "(plane 2 of 3)" in plane_chart(three, which=1).finding


def test_a_plane_survives_losses_that_are_not_finite() -> None:
    arrays = plane()
    arrays["loss"][0, 0, 0], arrays["loss"][0, 0, 1] = np.inf, np.nan
    for log in (False, True):
        chart = plane_chart(Measured(BENIGN, PLANE, arrays), view="surface", log=log)
        json.dumps(chart.figure, allow_nan=False)
        assert chart.figure["data"][0]["z"][0][:2] == [None, None]
        assert "at most 3.1;" in chart.finding


def test_eigenvectors_and_the_way_of_the_optimizer_are_named() -> None:
    arrays = {
        **plane(),
        "path": np.array([[0.0, 0.0], [0.2, 0.1]]),
        "path_names": np.array(["step 0", "step 5"]),
    }
    values = {**PLANE, "plane": "eigenvectors", "lambda_a": 11.14, "a_unit": ""}
    chart = plane_chart(Measured(BACKDOORED, values, arrays))
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "Steepest direction, λ = 11.1"
    assert [trace["name"] for trace in chart.figure["data"]] == [
        "Backdoored",
        "Way of the optimizer",
        "Models",
    ]
    assert chart.figure["layout"]["meta"]["balls"] == [{"trace": 1, "steps": [0, 5]}]
    unknown = {**arrays, "path_names": np.array(["step 0", "the end"])}
    layout = plane_chart(Measured(BACKDOORED, values, unknown)).figure["layout"]
    assert "balls" not in layout.get("meta", {}), "a ball needs the step of each point"
    solid = plane_chart(Measured(BACKDOORED, values, arrays), view="surface").figure["layout"]
    assert "balls" not in solid.get("meta", {}), "in three dimensions it would float"


def test_a_plane_through_models_has_the_first_of_them_at_its_origin() -> None:
    arrays = {
        **plane(),
        "points": np.array([[0.0, 0.0], [0.4, 0.0]]),
        "point_names": np.array(["backdoored", "purified"]),
    }
    three = arrays | {
        "points": np.eye(3, 2),
        "point_names": np.array(["backdoored", "purified", "third"]),
    }
    by_sgd = Measured(NGF, {**PLANE, "plane": "models", "third": "run:sgd"}, three)
    models = plane_chart(by_sgd).figure["data"][-1]
    assert models["text"] == ["backdoored", "purified", "by SGD"]
    who = (BACKDOORED, NGF, Subject("purified", "sgd"))
    assert models["marker"]["symbol"] == [subject.mark.symbol for subject in who]
    by_adam = Measured(NGF, {**PLANE, "plane": "models", "third": "run:adam"}, three)
    solid = plane_chart(by_adam, view="surface").figure["data"][-1]["marker"]["symbol"]
    assert solid == ["square-open", "diamond", "square-open"], "three dimensions have few shapes"
    finding = plane_chart(Measured(NGF, {**PLANE, "plane": "models"}, arrays)).finding
    assert finding == (
        "The loss is 0.1 at the backdoored model and 1.2 at the model purified by NGF."
    )
