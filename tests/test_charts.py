"""Charts are pure functions: what they draw and what they say, on made-up events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from run_folders import RACE, TRAIN, epoch_events, race_events

from dashboard.charts.bars import measure_bars
from dashboard.charts.chart import NOTHING, Chart
from dashboard.charts.frontier import frontier_chart
from dashboard.charts.layers import layer_chart
from dashboard.charts.loss_slice import slice_chart
from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.spectrum import spectrum_chart, symlog
from dashboard.charts.style import lane_colors, lane_title, model_colors, number, spread
from dashboard.charts.training import training_chart
from ngf.config import Choice, PurifySpec

ONE = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"),))
LAYERS = [{"type": "layer", "lane": "ngf", "layer": name, "score": score}
          for name, score in (("stem", 0.2), ("stage2.block1.conv2", 8.25), ("linear", 14.1))]
CHOSEN = {"type": "chosen", "lane": "ngf", "layer": "linear", "lr": 0.01, "why": "It has the largest score."}
POINTS = [{"method": method, "lr": lr, "ca": 0.99 - 10 * lr, "asr": asr, "picked": lr == 0.003}
          for method, scale in (("ngf", 1.0), ("sgd", 0.5)) for lr, asr in ((0.001, 1.0), (0.003, 1 - 0.98 * scale))]
SLICES = [{"name": name, "data": "Clean images", "distance": [-0.5, 0.0, 0.5], "mean": [rise + 0.1, 0.1, rise + 0.1],
           "low": [rise, 0.1, rise], "high": [rise + 0.4, 0.1, rise + 0.4]}
          for name, rise in (("Backdoored", 4.0), ("After NGF", 0.5))]
LINE = [{"name": "Clean images", "data": "Clean images", "distance": [0.0, 0.5, 1.0], "mean": [0.1, 2.1, 0.2],
         "low": [0.1, 2.1, 0.2], "high": [0.1, 2.1, 0.2]}]
SPECTRA = [{"name": name, "grid": [-1.0, 0.0, 1.0, top / 2, top], "density": [1e-3, 1.0, 0.1, 1e-6, 1e-2],
            "eigenvalues": [0.0, 1.0, top], "weights": [0.9, 0.05, 0.05], "lambda_max": top, "lambda_max_error": 2.0}
           for name, top in (("Backdoored", 400.0), ("After NGF", 20.0))]
BARS = [{"name": "Backdoored", "label": "λmax", "value": 400.0, "error": 9.0},
        {"name": "After NGF", "label": "λmax", "value": 20.0, "error": 0.5}]
FULL: dict[str, Chart] = {
    "race": race_chart(RACE, race_events()), "training": training_chart(epoch_events()),
    "internals": internals_chart(RACE, race_events()), "layers": layer_chart([*LAYERS, CHOSEN]),
    "frontier": frontier_chart(POINTS), "slice": slice_chart(SLICES), "line": slice_chart(LINE),
    "spectrum": spectrum_chart(SPECTRA), "bars": measure_bars(BARS),
}
EMPTY: dict[str, Chart] = {
    "race": race_chart(RACE, []), "training": training_chart([]), "internals": internals_chart(RACE, []),
    "layers": layer_chart([]), "frontier": frontier_chart([]), "slice": slice_chart([]),
    "spectrum": spectrum_chart([]), "bars": measure_bars([]),
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
    looks = [(t["name"], t["line"]["color"], t["line"]["dash"], t["marker"]["symbol"]) for t in traces]
    assert looks == [
        ("NGF CA", "#0072B2", "solid", "circle"), ("NGF ASR", "#0072B2", "dash", "triangle-up"),
        ("NGF RA", "#0072B2", "dot", "square"), ("SGD CA", "#E69F00", "solid", "circle"),
        ("SGD ASR", "#E69F00", "dash", "triangle-up"), ("SGD RA", "#E69F00", "dot", "square")]
    assert traces[0]["x"] == list(range(0, 101, 5)) and 0 <= min(traces[1]["y"]) <= max(traces[1]["y"]) <= 100


def test_a_single_lane_gives_the_rates_their_own_colors() -> None:
    traces = race_chart(ONE, [event for event in race_events() if event["lane"] == "ngf"]).figure["data"]
    assert [trace["line"]["color"] for trace in traces] == ["#0072B2", "#D55E00", "#009E73"]
    assert [trace["name"] for trace in traces] == ["Clean accuracy", "Attack success rate", "Robust accuracy"]


def test_the_axis_does_not_move_while_a_race_goes_on() -> None:
    early, late = race_chart(RACE, race_events(10)), FULL["race"]
    for axis in ("xaxis", "yaxis"):
        assert early.figure["layout"][axis]["range"] == late.figure["layout"][axis]["range"]


def test_every_line_of_a_race_has_its_direct_label() -> None:
    layout = FULL["race"].figure["layout"]
    labels = {note["name"]: note for note in layout["annotations"]}
    assert sorted(labels) == [f"label:{i}" for i in range(6)]
    places = sorted(note["y"] for note in labels.values())
    assert min(b - a for a, b in zip(places, places[1:], strict=False)) > 5, "labels do not overlap"


def test_race_finding() -> None:
    assert FULL["race"].finding == (
        "After 100 steps NGF has cut the attack success rate from 99.4 % to 0.4 % and kept clean accuracy within "
        "0.6 points; SGD still stands at 99.9 %.")


def step(lane: str, k: int, ca: float, asr: float | None) -> dict[str, Any]:
    return {"type": "step", "lane": lane, "step": k, "steps": 10, "ca": ca, "asr": asr, "ra": None, "loss": 0.1}


@pytest.mark.parametrize(("events", "finding"), [
    ([step("ngf", 0, 0.991, 0.997)],
     "Before the first step, clean accuracy is 99.1 % and the attack success rate 99.7 %."),
    ([step("ngf", 0, 0.991, None)], "Before the first step, clean accuracy is 99.1 %."),
    ([step("ngf", 0, 0.991, 0.997), step("ngf", 1, 0.991, 0.99)],
     "After 1 step NGF has left the attack success rate at 99.0 % and kept clean accuracy at 99.1 %."),
    ([step("ngf", 0, 0.99, 0.5), step("ngf", 2, 0.94, 0.6)],
     "After 2 steps NGF has raised the attack success rate from 50.0 % to 60.0 % and lowered clean accuracy by 5.0 "
     "points to 94.0 %."),
    ([step("ngf", 0, 0.99, None), step("ngf", 9, 0.95, None)],
     "After 9 steps NGF has lowered clean accuracy by 4.0 points to 95.0 %."),
    ([step("ngf", 0, 0.99, 0.9), step("ngf", 9, 0.99, 0.1), step("sgd", 0, 0.99, 0.9), step("sgd", 5, 0.9, 0.3)],
     "After 9 steps NGF has cut the attack success rate from 90.0 % to 10.0 % and kept clean accuracy at 99.0 %; "
     "SGD has cut it to 30.0 % after 5 steps at a cost of 9.0 points of clean accuracy."),
    ([step("ngf", 0, 0.99, 0.9), step("ngf", 9, 0.99, 0.1), step("sgd", 0, 0.99, 0.9), step("sgd", 9, 0.99, 0.95)],
     "After 9 steps NGF has cut the attack success rate from 90.0 % to 10.0 % and kept clean accuracy at 99.0 %; "
     "SGD has risen to 95.0 %."),
])
def test_race_findings_are_true(events: list[dict[str, Any]], finding: str) -> None:
    assert race_chart(RACE, events).finding == finding


def test_training_finding() -> None:
    events = epoch_events(3)
    assert training_chart(events).finding.startswith("After epoch 3 of 20 the model is right on 76.9 % of clean")
    benign = [{**event, "asr": None, "ra": None} for event in events]
    assert training_chart(benign).finding == "After epoch 3 of 20 the model is right on 76.9 % of clean test images."
    bare = [{"type": "epoch", "step": 1, "steps": 9, "loss": 1.5, "lr": 0.1}]
    assert training_chart(bare).finding == "After epoch 1 of 9 the training loss is 1.5."


def test_internals_have_two_panels_and_survive_missing_values() -> None:
    traces = FULL["internals"].figure["data"]
    assert [(trace["name"], trace["yaxis"]) for trace in traces] == [
        ("NGF", "y"), ("SGD", "y"), ("NGF", "y2"), ("SGD", "y2")]
    bare = [{"type": "step", "lane": "sgd", "step": k, "steps": 2, "distance": None, "fisher_trace": None}
            for k in range(3)]
    assert internals_chart(RACE, bare).finding == "The steps have not been recorded in detail."


def test_the_chosen_layer_stands_out() -> None:
    chart = FULL["layers"]
    assert chart.figure["data"][0]["marker"]["color"] == ["#888888", "#888888", "#0072B2"]
    assert chart.finding == "NGF tunes linear, whose score 14.1 is the highest of 3."
    assert layer_chart(LAYERS[:2]).finding.startswith("Of 2 layers scored for NGF so far, stage2.block1.conv2 is")


def test_findings_of_measurements() -> None:
    assert FULL["slice"].finding == ("At distance 0.5, the loss of the backdoored model rises by 4 (from 0.1) and that "
                                     "of the model after NGF rises by 0.5 (from 0.1).")
    assert FULL["line"].finding == "On clean images the loss goes from 0.1 to 0.2 over a hill of 1.9."
    assert FULL["spectrum"].finding == (
        "The largest eigenvalue of the backdoored model is 400 ± 2, that of the model after NGF is 20 ± 2; along its "
        "steepest direction the model after NGF is 20 times flatter.")
    assert FULL["bars"].finding == ("λmax is 400 ± 9 for the backdoored model and 20 ± 0.5 for the model after NGF, "
                                    "20 times smaller.")
    close = [BARS[0], {**BARS[1], "value": 395.0}]
    assert measure_bars(close).finding.endswith("the difference is within the error bars.")
    assert "NGF at the picked learning rate 0.003 has 2.0 % attack success" in FULL["frontier"].finding


def test_one_model_alone() -> None:
    assert spectrum_chart(SPECTRA[:1]).finding == "The largest eigenvalue of the backdoored model is 400 ± 2."
    assert measure_bars(BARS[:1]).finding == "λmax of the backdoored model is 400 ± 9."
    assert slice_chart(SLICES[:1]).figure["layout"]["showlegend"] is False


def test_models_side_by_side_have_one_scale() -> None:
    shared = [{**item, "grid": SPECTRA[0]["grid"]} for item in SPECTRA]
    ticks = [spectrum_chart([item]).figure["layout"]["xaxis"]["tickvals"] for item in shared]
    assert ticks[0] == ticks[1]
    assert symlog(-10, 1) == -symlog(10, 1) and symlog(0, 1) == 0


def test_colors_are_never_shared() -> None:
    lanes = ["ngf", "sgd", "sgd-2", "adam", "ngf_released", "anp"]
    assert len(set(lane_colors(lanes).values())) == len(lanes)
    assert lane_colors(lanes)["ngf_released"] == "#56B4E9"
    assert model_colors(["Backdoored", "After NGF", "Benign"]) == {
        "Backdoored": "#D55E00", "After NGF": "#009E73", "Benign": "#0072B2"}
    names = ["Backdoored", "After NGF", "After SGD", "x", "y", "z"]
    assert len(set(model_colors(names).values())) == len(names)


def test_names_from_outside_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    charts = [slice_chart([{**SLICES[0], "name": evil}]), measure_bars([{**BARS[0], "name": evil}]),
              layer_chart([{**LAYERS[0], "layer": evil}]), frontier_chart([{**POINTS[0], "method": evil}])]
    assert not any("<img" in json.dumps(chart.figure) for chart in charts)


def test_words() -> None:
    assert [lane_title(lane) for lane in ("ngf", "sgd-2", "adam", "fine_pruning")] == [
        "NGF", "SGD (2)", "Adam", "Fine pruning"]
    assert [number(value) for value in (0, 0.01234, 3.14159, 411.6, 12345, 4.5e-7, 2.5e7)] == [
        "0", "0.0123", "3.14", "412", "12,300", "4.50e-7", "2.50e7"]
    assert spread([0.0, 0.1, 9.9, 10.0], 1.0, 10.0) == [0.0, 1.0, 9.0, 10.0]
