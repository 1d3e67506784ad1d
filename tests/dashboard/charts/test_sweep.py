"""The picture of a sweep: means over what is independent, intervals, panels, true sentences."""

from __future__ import annotations

import pytest

from dashboard.charts.chart import NOTHING
from dashboard.charts.compared import t_interval
from dashboard.charts.sweep import (
    MOST,
    Axis,
    Look,
    Point,
    Quantity,
    cells,
    left_out,
    sweep_chart,
)

ASR = Quantity("Attack success rate", share=True, least=0.0, most=1.0)
AXES = {
    "attack": Axis("Attack", ("badnets", "blend"), ("BadNets", "Blend"), "model"),
    "model_seed": Axis("Model seed", (0, 1), ("0", "1"), "model"),
    "radius": Axis("Radius", (0.001, 0.01, 0.1), ("0.001", "0.01", "0.1"), "purification"),
    "seed": Axis("Purification seed", (0, 1), ("0", "1"), "purification"),
}


def points(value, *, seeds=(0, 1), model_seeds=(0, 1)):
    """value: of the places on the axes."""
    return [
        Point(at, value(**at), f"run-{a}{m}{r}{s}")
        for a in (0, 1)
        for m in model_seeds
        for r in (0, 1, 2)
        for s in seeds
        if (at := {"attack": a, "model_seed": m, "radius": r, "seed": s})
    ]


ALL = points(lambda attack, model_seed, radius, seed: 0.1 * (3 - radius) + 0.1 * model_seed)
LOOK = Look("radius", "attack", over=("model_seed", "seed"))


def test_a_mean_is_over_models_and_none_counts_twice():
    first = cells(ALL, AXES, ASR, LOOK)[0]
    assert (first.n, first.unit, len(first.points)) == (2, "model", 4)
    assert first.mean == pytest.approx(0.35)
    low, high = t_interval([0.3, 0.4])
    assert low < 0 and first.low == 0.0 and first.high == pytest.approx(high)
    assert first.count == "n = 2 models"


def test_of_one_model_the_mean_is_over_purifications():
    found = cells(points(lambda seed, **at: 0.1 * seed, model_seeds=(0,)), AXES, ASR, LOOK)
    assert {(cell.n, cell.unit) for cell in found} == {(2, "purification")}
    single = cells(points(lambda **at: 0.5, seeds=(0,), model_seeds=(0,)), AXES, ASR, LOOK)
    assert {(cell.n, cell.low) for cell in single} == {(1, None)}


def test_numbers_over_a_decade_are_on_a_logarithmic_axis():
    figure = sweep_chart(ALL, AXES, ASR, LOOK).figure
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["xaxis"]["ticktext"] == ["0.001", "0.01", "0.1"]
    linear = {**AXES, "radius": Axis("Steps", (1, 2, 3), ("1", "2", "3"), "purification")}
    assert "type" not in sweep_chart(ALL, linear, ASR, LOOK).figure["layout"]["xaxis"]


def test_single_results_stand_behind_their_mean():
    each, mean = sweep_chart(ALL, AXES, ASR, LOOK).figure["data"][:2]
    assert len(each["x"]) == 12 and len(mean["x"]) == 3 and mean["mode"] == "lines+markers"
    assert set(each["x"]) == set(mean["x"]) and each["showlegend"] is False
    assert each["marker"]["opacity"] < 0.5 and mean["name"] == "BadNets"
    bars = mean["error_y"]
    assert bars["visible"] and mean["y"][0] - bars["arrayminus"][0] >= 0.0
    alone = sweep_chart(points(lambda **at: 0.5, seeds=(0,), model_seeds=(0,)), AXES, ASR, LOOK)
    assert [trace["name"] for trace in alone.figure["data"]] == ["BadNets", "Blend"]
    assert not alone.figure["data"][0]["error_y"]["visible"]


def test_colors_stand_beside_each_other_and_names_are_places():
    look = Look("attack", "radius", over=("model_seed", "seed"))
    figure = sweep_chart(ALL, AXES, ASR, look).figure
    means = figure["data"][1::2]
    assert [trace["x"] for trace in means] == [[-0.25, 0.75], [0.0, 1.0], [0.25, 1.25]]
    assert {trace["mode"] for trace in means} == {"markers"}
    assert figure["layout"]["xaxis"]["ticktext"] == ["BadNets", "Blend"]


def test_panels_are_below_each_other_on_one_scale():
    look = Look("radius", "model_seed", "attack", ("seed",))
    figure = sweep_chart(ALL, AXES, ASR, look).figure
    layout = figure["layout"]
    assert layout["yaxis"]["range"] == layout["yaxis2"]["range"]
    assert layout["yaxis"]["domain"][0] > layout["yaxis2"]["domain"][1]
    assert [note["text"] for note in layout["annotations"]] == ["<b>BadNets</b>", "<b>Blend</b>"]
    named = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    assert named == ["0", "1"], "each color once"
    same = sweep_chart(ALL, AXES, ASR, Look("radius", "attack", "attack", LOOK.over)).figure
    assert [t["name"] for t in same["data"] if t["showlegend"]] == ["BadNets", "Blend"]
    assert same["data"][1]["x"] == same["data"][3]["x"] == [0.001, 0.01, 0.1]


def test_a_verdict_needs_two_intervals():
    apart = sweep_chart(
        points(lambda radius, model_seed, **at: (0.9, 0.5, 0.1)[radius] + 0.001 * model_seed),
        AXES,
        ASR,
        LOOK,
    )
    assert apart.finding == (
        "Attack success rate is lowest for Attack BadNets, Radius 0.1, 10.1 % (95 % interval 9.4 % "
        "to 10.7 %, n = 2 models), and highest for Attack BadNets, Radius 0.001, 90.1 % (95 % "
        "interval 89.4 % to 90.7 %, n = 2 models); the two intervals are apart."
    )
    assert sweep_chart(ALL, AXES, ASR, LOOK).finding.endswith("the two intervals overlap.")
    single = points(lambda radius, **at: 0.1 * radius, seeds=(0,), model_seeds=(0,))
    said = sweep_chart(single, AXES, ASR, LOOK).finding
    assert said.endswith("without two intervals nothing more can be said of them.")
    assert "0.0 % (one run, no interval)" in said
    same = sweep_chart(points(lambda **at: 0.5), AXES, ASR, LOOK)
    assert same.finding == "Attack success rate is 50.0 % in all 6 means."
    one = sweep_chart(ALL[:1], AXES, ASR, LOOK)
    assert one.finding == (
        "Attack success rate is 30.0 % (one run, no interval) for Attack BadNets, Radius 0.001."
    )


def test_the_table_has_every_mean_with_its_interval():
    table = sweep_chart(ALL, AXES, ASR, LOOK).table
    assert list(table) == [
        "Attack",
        "Radius",
        "Attack success rate (%)",
        "95 % interval from (%)",
        "95 % interval to (%)",
        "n",
        "n of",
    ]
    assert len(table) == 6 and set(table["n of"]) == {"models"}


def test_more_than_can_be_told_apart_is_left_out_and_told():
    many = tuple(range(MOST + 3))
    axes = {"x": AXES["radius"], "c": Axis("Seed", many, tuple(map(str, many)), "model")}
    found = [Point({"x": 0, "c": place}, 0.1, "run") for place in many]
    chart = sweep_chart(found, axes, ASR, Look("x", "c"))
    assert len({trace["name"] for trace in chart.figure["data"]}) == MOST
    assert len(chart.table) == MOST + 3
    assert left_out(found, Look("x", "c")) == (
        f"Drawn are the first {MOST} of {MOST + 3} colors; the table has all of them."
    )
    assert left_out(found, Look("x")) == ""


def test_nothing_is_no_chart_and_texts_are_escaped():
    assert sweep_chart([], AXES, ASR, LOOK).finding == NOTHING
    axes = {**AXES, "attack": Axis("<b>", ("a", "b"), ("<i>x</i>", "y"), "model")}
    figure = sweep_chart(ALL, axes, ASR, LOOK).figure
    assert figure["data"][0]["name"] == "&lt;i&gt;x&lt;/i&gt;"
    drawn = str(sweep_chart(ALL, axes, ASR, Look("attack", panel="attack", over=LOOK.over)).figure)
    assert "<i>" not in drawn and drawn.count("<b>") == 2, "the names of the panels"
