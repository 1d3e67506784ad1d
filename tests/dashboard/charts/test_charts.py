"""Charts are pure functions: what they draw and what they say, on made-up events."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from analysis.image_kinds import KINDS
from analysis.measurements.base import Picture
from dashboard.charts import registry
from dashboard.charts.bars import Bar, measure_bars
from dashboard.charts.chart import NOTHING, Chart
from dashboard.charts.frontier import frontier_chart
from dashboard.charts.layers import layer_chart
from dashboard.charts.loss_line import line_chart
from dashboard.charts.loss_plane import VIEWS, plane_chart
from dashboard.charts.loss_slice import Walk, slice_chart
from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.registry import (
    DRAWN_OF,
    LIVE,
    OF_MEASUREMENTS,
    VALUES,
    WAITING,
    ChartOptions,
    draw,
    draw_run,
)
from dashboard.charts.rescaling import ratio, rescaling_chart
from dashboard.charts.spectrum import Spectrum, spectrum_chart, symlog
from dashboard.charts.style import IMAGES, METHODS
from dashboard.charts.subject import BACKDOORED, BENIGN, Measured, Subject
from dashboard.charts.training import training_chart
from ngf.config import Choice, PurifySpec
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events

ONE = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"),))
LAYERS = [
    {"type": "layer", "lane": "ngf", "layer": name, "score": score}
    for name, score in (("stem", 0.2), ("stage2.block1.conv2", 8.25), ("linear", 14.1))
]
CHOSEN = {
    "type": "chosen",
    "lane": "ngf",
    "layer": "linear",
    "lr": 0.01,
    "why": "It has the largest score.",
}
POINTS = [
    {"method": method, "lr": lr, "ca": 0.99 - 10 * lr, "asr": asr, "picked": lr == 0.003}
    for method, scale in (("ngf", 1.0), ("sgd", 0.5))
    for lr, asr in ((0.001, 1.0), (0.003, 1 - 0.98 * scale))
]
NGF = Subject("purified", "ngf")
SLICES = [
    Walk(
        subject,
        "clean",
        distance=[-0.5, 0.0, 0.5],
        mean=[rise + 0.1, 0.1, rise + 0.1],
        low=[rise, 0.1, rise],
        high=[rise + 0.4, 0.1, rise + 0.4],
    )
    for subject, rise in ((BACKDOORED, 4.0), (NGF, 0.5))
]
LINE = Walk(NGF, "clean", [0.0, 0.5, 1.0], *[[0.1, 2.1, 0.2]] * 3)
SPECTRA = [
    Spectrum(
        subject,
        grid=[-1.0, 0.0, 1.0, top / 2, top],
        density=[1e-3, 1.0, 0.1, 1e-6, 1e-2],
        eigenvalues=[0.0, 1.0, top],
        lambda_max=top,
        lambda_max_error=2.0,
    )
    for subject, top in ((BACKDOORED, 400.0), (NGF, 20.0))
]
BARS = [Bar(BACKDOORED, "λmax", 400.0, 9.0), Bar(NGF, "λmax", 20.0, 0.5)]
FULL: dict[str, Chart] = {
    "race": race_chart(RACE, race_events()),
    "training": training_chart(epoch_events()),
    "internals": internals_chart(RACE, race_events()),
    "layers": layer_chart([*LAYERS, CHOSEN]),
    "frontier": frontier_chart(POINTS),
    "slice": slice_chart(SLICES),
    "line": line_chart([LINE]),
    "spectrum": spectrum_chart(SPECTRA),
    "bars": measure_bars(BARS),
}
EMPTY: dict[str, Chart] = {
    "race": race_chart(RACE, []),
    "training": training_chart([]),
    "internals": internals_chart(RACE, []),
    "layers": layer_chart([]),
    "frontier": frontier_chart([]),
    "slice": slice_chart([]),
    "spectrum": spectrum_chart([]),
    "bars": measure_bars([]),
    "phases": race_chart(RACE, [{"type": "phase", "phase": "loading data"}]),
}


@pytest.mark.parametrize("name", FULL)
def test_a_chart_is_plain_json_with_table_finding_and_alt(name: str) -> None:
    chart = FULL[name]
    text = json.dumps(chart.figure, allow_nan=False)
    assert len(text) < 300_000
    assert chart.figure["data"] and len(chart.table) and chart.finding.endswith(".") and chart.alt
    assert '"color": "#000' not in text, "text and grid take their color from the theme"


@pytest.mark.parametrize("name", EMPTY)
def test_no_data_is_an_empty_figure_that_says_so(name: str) -> None:
    chart = EMPTY[name]
    json.dumps(chart.figure, allow_nan=False)
    assert chart.figure["data"] == []
    assert chart.finding == chart.alt == NOTHING
    assert len(chart.table) == 0


def test_lanes_have_a_color_and_rates_a_line_and_a_marker() -> None:
    traces = FULL["race"].figure["data"]
    looks = [
        (t["name"], t["line"]["color"], t["line"]["dash"], t["marker"]["symbol"]) for t in traces
    ]
    assert looks == [
        (f"{name} {rate}", METHODS[lane].color, dash, symbol)
        for lane, name in (("ngf", "NGF"), ("sgd", "SGD"))
        for rate, dash, symbol in (
            ("CA", "solid", "circle"),
            ("ASR", "dash", "triangle-up"),
            ("RA", "dot", "square"),
        )
    ]
    assert (
        traces[0]["x"] == list(range(0, 101, 5))
        and 0 <= min(traces[1]["y"]) <= max(traces[1]["y"]) <= 100
    )


def test_a_single_lane_gives_the_rates_their_own_colors() -> None:
    traces = race_chart(ONE, [event for event in race_events() if event["lane"] == "ngf"]).figure[
        "data"
    ]
    images = ("clean", "triggered_target", "triggered_true")
    assert [trace["line"]["color"] for trace in traces] == [IMAGES[name].color for name in images]
    assert [trace["name"] for trace in traces] == [
        "Clean accuracy",
        "Attack success rate",
        "Robust accuracy",
    ]


def test_the_axis_does_not_move_while_a_race_goes_on() -> None:
    early, late = race_chart(RACE, race_events(10)), FULL["race"]
    for axis in ("xaxis", "yaxis"):
        assert early.figure["layout"][axis]["range"] == late.figure["layout"][axis]["range"]


def test_every_line_of_a_race_has_its_direct_label() -> None:
    """Where it stands is found by the page: tests/dashboard/components/test_live_component.py."""
    labels = FULL["race"].figure["layout"]["annotations"]
    assert [note["name"] for note in labels] == [f"label:{i}" for i in range(6)]
    assert all(set(note) == {"name", "text"} for note in labels)
    color = METHODS["sgd"].color
    assert labels[4]["text"] == f'<span style="color:{color}">▲</span> SGD ASR'


def test_race_finding() -> None:
    assert FULL["race"].finding == (
        "After 100 steps NGF has cut the attack success rate from 99.4 % to 0.4 % and kept clean "
        "accuracy within 0.6 points; SGD still stands at 99.9 %."
    )


def step(lane: str, k: int, ca: float, asr: float | None) -> dict[str, Any]:
    return {
        "type": "step",
        "lane": lane,
        "step": k,
        "steps": 10,
        "ca": ca,
        "asr": asr,
        "ra": None,
        "loss": 0.1,
    }


@pytest.mark.parametrize(
    ("events", "finding"),
    [
        (
            [step("ngf", 0, 0.991, 0.997)],
            "Before the first step, clean accuracy is 99.1 % and the attack success rate 99.7 %.",
        ),
        ([step("ngf", 0, 0.991, None)], "Before the first step, clean accuracy is 99.1 %."),
        (
            [step("ngf", 0, 0.991, 0.997), step("ngf", 1, 0.991, 0.99)],
            "After 1 step NGF has left the attack success rate at 99.0 % and kept clean accuracy "
            "at 99.1 %.",
        ),
        (
            [step("ngf", 0, 0.99, 0.5), step("ngf", 2, 0.94, 0.6)],
            "After 2 steps NGF has raised the attack success rate from 50.0 % to 60.0 % and "
            "lowered clean accuracy by 5.0 points to 94.0 %.",
        ),
        (
            [step("ngf", 0, 0.99, None), step("ngf", 9, 0.95, None)],
            "After 9 steps NGF has lowered clean accuracy by 4.0 points to 95.0 %.",
        ),
        (
            [
                step("ngf", 0, 0.99, 0.9),
                step("ngf", 9, 0.99, 0.1),
                step("sgd", 0, 0.99, 0.9),
                step("sgd", 5, 0.9, 0.3),
            ],
            "After 9 steps NGF has cut the attack success rate from 90.0 % to 10.0 % and kept "
            "clean accuracy at 99.0 %; SGD has cut it to 30.0 % after 5 steps at a cost of 9.0 "
            "points of clean accuracy.",
        ),
        (
            [
                step("ngf", 0, 0.99, 0.9),
                step("ngf", 9, 0.99, 0.1),
                step("sgd", 0, 0.99, 0.9),
                step("sgd", 9, 0.99, 0.95),
            ],
            "After 9 steps NGF has cut the attack success rate from 90.0 % to 10.0 % and kept "
            "clean accuracy at 99.0 %; SGD has risen to 95.0 %.",
        ),
    ],
)
def test_race_findings_are_true(events: list[dict[str, Any]], finding: str) -> None:
    assert race_chart(RACE, events).finding == finding


def test_training_finding() -> None:
    events = epoch_events(3)
    assert training_chart(events).finding.startswith(
        "After epoch 3 of 20 the model is right on 76.9 % of clean"
    )
    benign = [{**event, "asr": None, "ra": None} for event in events]
    assert (
        training_chart(benign).finding
        == "After epoch 3 of 20 the model is right on 76.9 % of clean test images."
    )
    bare = [{"type": "epoch", "step": 1, "steps": 9, "loss": 1.5, "lr": 0.1}]
    assert training_chart(bare).finding == "After epoch 1 of 9 the training loss is 1.5."


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


def test_findings_of_measurements() -> None:
    assert FULL["slice"].finding == (
        "At distance 0.5, the loss of the backdoored model rises by 4 (from 0.1) and that "
        "of the model purified by NGF rises by 0.5 (from 0.1)."
    )
    assert (
        FULL["line"].finding == "On clean images the loss goes from 0.1 to 0.2 over a hill of 1.9."
    )
    assert FULL["spectrum"].finding == (
        "The largest eigenvalue of the backdoored model is 400 ± 2, that of the model purified by "
        "NGF is 20 ± 2; along its steepest direction the model purified by NGF is 20 times flatter."
    )
    assert FULL["bars"].finding == (
        "λmax is 400 ± 9 for the backdoored model and 20 ± 0.5 for the model purified by NGF, "
        "20 times smaller."
    )
    close = [BARS[0], replace(BARS[1], value=395.0)]
    assert measure_bars(close).finding.endswith("the difference is within the error bars.")
    three = [replace(BARS[0], subject=BENIGN, value=100.0), *BARS]
    assert measure_bars(three).finding == (
        "λmax is 100 ± 9 for the benign model, 400 ± 9 for the backdoored model and 20 ± 0.5 for "
        "the model purified by NGF; the last is 20 times smaller than the one before."
    )
    assert FULL["frontier"].finding.startswith(
        "NGF at the picked learning rate 0.003 has an attack success rate of 2.0 % and a clean "
    )


def test_every_kind_of_images_has_a_line_of_its_own() -> None:
    chart = line_chart([replace(LINE, images=kind) for kind in KINDS])
    lines = [trace["line"] for trace in chart.figure["data"] if "dash" in trace["line"]]
    assert (
        len({item["color"] for item in lines})
        == len({item["dash"] for item in lines})
        == len(KINDS)
    )
    assert "on training mix as poisoned the loss" in chart.finding


def test_one_model_alone() -> None:
    assert (
        spectrum_chart(SPECTRA[:1]).finding
        == "The largest eigenvalue of the backdoored model is 400 ± 2."
    )
    assert measure_bars(BARS[:1]).finding == "λmax of the backdoored model is 400 ± 9."
    assert slice_chart(SLICES[:1]).figure["layout"]["showlegend"] is False


def test_models_side_by_side_have_one_scale() -> None:
    shared = [replace(item, grid=SPECTRA[0].grid) for item in SPECTRA]
    ticks = [spectrum_chart([item]).figure["layout"]["xaxis"]["tickvals"] for item in shared]
    assert ticks[0] == ticks[1]
    assert symlog(-10, 1) == -symlog(10, 1) and symlog(0, 1) == 0


def test_names_from_outside_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    subject = Subject("purified", evil)
    race = PurifySpec(parent=TRAIN.id, lanes=(Choice(evil), Choice("sgd")))
    events = [{**event, "lane": evil, evil: event["step"]} for event in race_events(20)]
    charts = [
        race_chart(race, events),
        internals_chart(race, events),
        slice_chart([replace(SLICES[0], subject=subject), SLICES[1]]),
        spectrum_chart([replace(SPECTRA[0], subject=subject)]),
        measure_bars([replace(BARS[0], subject=subject)]),
        measure_bars([replace(BARS[0], label=evil), BARS[1]]),
        layer_chart([{**LAYERS[0], "layer": evil, "lane": evil}]),
        frontier_chart([{**POINTS[0], "method": evil, "picked": True}]),
        plane_chart(Measured(subject, PLANE, plane())),
        plane_chart(
            Measured(
                subject, {**PLANE, "a_unit": evil, "plane": "models", "third": f"x:{evil}"}, plane()
            )
        ),
        plane_chart(Measured(NGF, PLANE, plane() | {"point_names": np.array([evil])})),
    ]
    for chart in charts:
        assert chart.figure["data"], "it is drawn"
        assert "<img" not in json.dumps(chart.figure)


# ---- the loss on a plane


def plane(scale: float = 1.0, known: float = 1.0, planes: int = 1) -> dict[str, np.ndarray]:
    """Arrays of `loss_plane`: a bowl on 9 x 7 cells, of which the share `known` is measured."""
    a, b = np.linspace(-0.5, 0.5, 9), np.linspace(-0.5, 0.5, 7)
    loss = 0.1 + scale * (8 * a[None, :] ** 2 + 4 * b[:, None] ** 2)
    measured = (np.arange(loss.size).reshape(loss.shape) < known * loss.size).astype(np.uint8)
    return {
        "a": a,
        "b": b,
        "loss": np.stack([loss * (i + 1) for i in range(planes)]),
        "rate": np.stack([np.exp(-loss)] * planes),
        "known": measured,
        "points": np.zeros((1, 2)),
        "point_names": np.array(["center"]),
    }


PLANE = {
    "plane": "random",
    "a_unit": "length of each filter",
    "b_unit": "length of each filter",
    "n": 256,
    "lambda_a": None,
    "lambda_b": None,
    "data": "clean",
}


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
        charts = draw("planes", found, ChartOptions(view=view))
        scales = [[chart.figure["data"][0][end] for end in ends] for chart in charts]
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
    assert finding.startswith("The loss of the backdoored model is 0.1 at the origin")


# ---- measurements: readings in, charts out


FACTORS = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
RESCALED = {
    "factor": FACTORS,
    "lambda_max": 5.0 / FACTORS**2,
    "trace": 70.0 / FACTORS**2,
    "filter_lambda_max": np.full(5, 3.0),
    "max_change": np.array([2e-6, 1e-6, 0.0, 1e-6, 3e-6]),
}


def test_rescaling_moves_some_measures_and_not_others() -> None:
    chart = rescaling_chart(Measured(BACKDOORED, {"layer": "stem"}, RESCALED), at=0.1)
    assert (
        chart.figure["layout"]["xaxis"]["type"] == chart.figure["layout"]["yaxis"]["type"] == "log"
    )
    assert chart.figure["layout"]["shapes"][0]["x0"] == 0.1
    assert ratio(RESCALED, "lambda_max", 0.1) == pytest.approx(100.0)
    assert chart.finding == (
        "From factor 0.01 to 100 no logit moves by more than 3.0e-6, but these change: largest "
        "Hessian eigenvalue by a factor of 1.00e8 and trace of the Hessian by a factor of 1.00e8; "
        "these stay within 5 %: largest eigenvalue, filter-normalized."
    )


def test_outliers_are_counted_only_when_they_are_certain() -> None:
    item = Spectrum(
        BENIGN,
        grid=[],
        density=[],
        lambda_min=-1.0,
        eigenvalues=[-1.0, 0.5, 1.2, 3.0, 3.05, 9.0],
        residuals=[0, 0, 0.5, 0.1, 0.1, 0.1],
    )
    assert item.edge == 1.0
    assert item.outliers() == 2, "1.2 may lie below the edge, and 3.0 and 3.05 may be the same one"
    assert replace(item, lambda_min=0.0).outliers() is None


def test_the_registry_draws_a_chart_of_the_runs_that_it_is_of() -> None:
    events = {"purify": race_events(), "train": epoch_events()}
    specs = {"purify": RACE, "train": TRAIN}
    for name, kind in DRAWN_OF.items():
        for other, spec in specs.items():
            if other == kind:
                assert draw_run(name, spec, events[kind]).figure["layout"], name
            else:
                with pytest.raises(KeyError):
                    draw_run(name, spec, events[other])
    assert set(LIVE) == set(specs) and all(DRAWN_OF[name] == kind for kind, name in LIVE.items())
    assert {name for name, kind in DRAWN_OF.items() if kind == "measure"} == set(OF_MEASUREMENTS)


def test_every_chart_of_measurements_waits_for_its_first_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = Picture(question="?", value="margin", label="Margin", cannot="Much.")
    monkeypatch.setattr(registry, "pictures", lambda: {"margins": asdict(declared)})
    empty = [Measured(BENIGN, {}, {}), Measured(BACKDOORED, {}, {})]
    for name in OF_MEASUREMENTS:
        values = VALUES[name]() if name in VALUES else [ChartOptions.value]
        for value, together in itertools.product(values, (False, True)):
            for chart in draw(name, empty, ChartOptions(value=value, together=together)):
                assert chart.figure == WAITING and chart.finding == NOTHING
                json.dumps(chart.figure, allow_nan=False)


def test_a_model_without_numbers_leaves_the_others_as_they_are() -> None:
    slices = {
        "distance": np.array([-0.5, 0.0, 0.5]),
        **{key: np.array([1.0, 0.1, 1.0]) for key in ("mean", "low", "high")},
    }
    spectra = {
        "nodes": np.array([-0.1, 0.0, 9.0]),
        "weights": np.array([0.2, 0.7, 0.1]),
        "eigenvalues": np.array([-0.1, 0.0, 9.0]),
        "residuals": np.zeros(3),
    }
    for name, arrays in (("slices", slices), ("spectra", spectra), ("planes", plane())):
        charts = draw(
            name,
            [Measured(BENIGN, {"data": "clean"}, arrays), Measured(BACKDOORED, {}, {})],
            ChartOptions(),
        )
        assert charts[0].figure["data"] and charts[1].figure == WAITING
