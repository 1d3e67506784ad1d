"""The published picks are those of the rules that a purification runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evidence import frontier
from evidence.frontier import Bench, picked_layers, rivals, specs, tried
from evidence.shipped import RUNS, read_all
from ngf.catalogue import build, load
from ngf.config import Choice
from ngf.defenses.fine_tuning.choosing import choose_lr, largest_harmless
from ngf.defenses.fine_tuning.events import Chosen, LayerScore
from ngf.evaluate import TestSet
from ngf.models import build as build_model
from ngf.models import flow
from ngf.runs.store import Store

FILES = read_all(RUNS)
MODEL = "signs-badnets-s0-e92d669fdf"
by_run = pytest.mark.parametrize("found", FILES, ids=[found["run"] for found in FILES])


def test_what_ships_is_what_the_step_makes() -> None:
    assert sorted(spec.id for spec in specs()) == [found["run"] for found in FILES]
    assert frontier.missing() == []


@by_run
def test_layers_are_picked_by_the_rules(found: dict[str, Any]) -> None:
    """`auto` and `fisher` from what they go by; the one in hindsight among usable layers."""
    results, layers = found["results"], found["layers"]
    starts = [found["before"]["ca"] - 0.01, found["before"]["ca"], found["before"]["ca"] + 0.01]
    for start in starts:  # on the part of the test set, which the file does not have
        picked = picked_layers(layers, start)
        for name in ("ngf, auto layer", "ngf, fisher layer"):
            assert results[name]["layer"] == picked[name]
    hindsight = {picked_layers(layers, s)["ngf, best layer in hindsight"] for s in starts}
    assert results["ngf, best layer in hindsight"]["layer"] in hindsight
    for name in picked:
        point = next(point for point in layers if point["layer"] == results[name]["layer"])
        assert {key: results[name][key] for key in point} == point
    known = found["points"][: len(layers)]
    assert [point | known[k] for k, point in enumerate(layers)] == layers


@by_run
def test_rates_are_picked_by_the_rule(found: dict[str, Any]) -> None:
    """Every grid is there, in the product's order, and has one pick: the rule's."""
    if found["model"] in frontier.OTHER_NETWORKS:
        assert len(found["results"]) == 3 and len(found["points"]) == len(found["layers"])
        return
    points = iter(found["points"][len(found["layers"]) :])
    last = flow(build_model(found["model"], 12), torch.rand(2, 3, 32, 32)).last
    named = rivals(found["results"]["ngf, auto layer"]["layer"], last)
    for name, (method, layer) in named.items():
        grid = [next(points) for _ in load("defenses", method).lr_grid]
        assert [(p["method"], p["layer"]) for p in grid] == [(method, layer)] * len(grid)
        assert [p["lr"] for p in grid] == list(load("defenses", method).lr_grid)
        (pick,) = [point for point in grid if point.get("picked")]
        lr, _validation = largest_harmless(tried(grid), found["validation_before"])
        assert pick["lr"] == lr
        assert {key: found["results"][name][key] for key in pick} == pick
    assert [point["method"] for point in points] == ["ngf_as_released"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Bench:
    """A model of the zoo, few test images, and defenses of two steps."""

    def short(kind: str, choice: Choice) -> Any:
        return build(kind, Choice(choice.name, {"steps": 2}))

    monkeypatch.setattr(frontier, "build", short)
    monkeypatch.setattr(frontier, "NUM_FRONTIER", 20)
    whole = TestSet.subset
    monkeypatch.setattr(frontier, "test_set", lambda *given: whole(_test_set(*given), 40))
    found = Bench(Store().get(MODEL), num_clean=60)
    return found


_test_set = frontier.test_set


def test_layers_are_scored_as_in_a_purification(bench: Bench) -> None:
    points, models = bench.tune_each_layer()
    assert [point["layer"] for point in points] == list(models)
    purification = build("defenses", Choice("ngf", {"steps": 2, "layer": "auto"})).purify(
        bench.problem
    )
    scores, chosen = {}, None
    for event in purification:
        if isinstance(event, LayerScore):
            scores[event.layer] = event.score
        if isinstance(event, Chosen):
            chosen = event.layer
            break
    assert {point["layer"]: point["auto_score"] for point in points} == scores
    assert picked_layers(points, 1.0)["ngf, auto layer"] == chosen


@pytest.mark.parametrize("method", ["sgd", "adam"])
def test_rates_are_chosen_as_in_a_purification(bench: Bench, method: str) -> None:
    defense = build("defenses", Choice(method, {"steps": 2, "rates": "grid"}))
    point, model = bench.tune_by_rule(method, "all")
    assert point["lr"] == choose_lr(defense, bench.problem, "all")[0]
    assert [tried["lr"] for tried in bench.points] == list(defense.lr_grid)
    assert [tried for tried in bench.points if tried.get("picked")] == [point]
    whole = bench.finish(point, model)["whole"]
    assert (whole["n_clean"], whole["n_triggered"], point["n"]) == (40, 40, 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_file_measured_again() -> None:
    """On another machine last digits differ, and with them a pick whose accuracy lies on the edge
    of what the rule tolerates: it may be the next rate of the grid.
    """
    then = next(found for found in FILES if found["run"] == MODEL)
    now, models = frontier.measured(Store().get(MODEL), layers_only=False)
    assert list(now["results"]) == list(then["results"]) == list(models)
    for name, result in now["results"].items():
        kept = then["results"][name]
        assert result["layer"] == kept["layer"], name
        grid = load("defenses", result["method"]).lr_grid
        assert abs(grid.index(result["lr"]) - grid.index(kept["lr"])) <= 1, name
        if result["lr"] == kept["lr"]:
            for rate in ("ca", "asr", "ra"):
                assert result["whole"][rate] == pytest.approx(kept["whole"][rate], abs=0.03), name
