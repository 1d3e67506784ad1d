"""The table of sharpness: what it says of models whose sharpness is known, and of few or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from evidence import sharpness_table
from evidence.sharpness_table import (
    ALL,
    COMPOSITE,
    CONTROL,
    IMAGES,
    INVARIANT,
    MEASURES,
    TOGETHER,
    as_text,
    backdoored,
    detectors,
    groups,
    purified,
    rows_of,
)
from evidence.shipped import MINIMA, SHARPNESS, read, read_all
from tests.helpers import made_up_minima
from tests.helpers.made_up_minima import World

SMALL = World(
    benign=5,
    attacks=("badnets", "blend", "wanet"),
    seeds=2,
    points=4,
    measures=("lambda_max", "fisher_trace"),
    images=("train",),
)


@pytest.fixture
def made(monkeypatch, tmp_path) -> Callable[..., dict[str, Any]]:
    """The table of files that the test names, in folders of its own."""
    folders = {"MINIMA": tmp_path / "minima", "MINIMA_PURIFIED": tmp_path / "purified"}
    for name, folder in folders.items():
        folder.mkdir()
        monkeypatch.setattr(sharpness_table, name, folder)
    monkeypatch.setattr(sharpness_table, "SHARPNESS", tmp_path / "sharpness.json")

    def of(minima=(), later=()) -> dict[str, Any]:
        for folder, files in zip(folders.values(), (minima, later)):
            for file in files:
                path = folder / f"{file['rows'][0]['run']}.json"
                path.write_text(json.dumps(file), encoding="utf-8")
        assert sharpness_table.missing() == ["sharpness.json"]
        sharpness_table.make("sharpness.json")
        assert sharpness_table.missing() == []
        return read(tmp_path / "sharpness.json")

    return of


def one(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    (found,) = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return found


def of_world(world: World, seed: int = 0):
    ((_, of),) = groups(rows_of(made_up_minima.minima(world, seed)))
    return of


# ---- effects that are known


def test_a_difference_that_is_one_of_loss_is_none_at_equal_loss() -> None:
    world = World(loss=0.9, effect=0.0, points=6, measures=("lambda_max",), images=("train",))
    effects, shares = backdoored(of_world(world), ["lambda_max"])
    raw, equal = (one(effects, compared=name, attack=ALL) for name in ("raw", "loss"))
    assert raw["low"] > 1.3 and equal["low"] < 1 < equal["high"] < 1.2
    assert 0.6 < shares[0]["low"] < shares[0]["share"] < 1.4
    assert raw["n"] == {"attacks": 6, "models": 18, "benign": 8}
    assert {row["attack"] for row in effects} == {ALL, *world.attacks}


def test_a_difference_beside_the_loss_stays_at_equal_loss() -> None:
    world = World(loss=0.0, effect=0.5, measures=("lambda_max",), images=("train",))
    effects, shares = backdoored(of_world(world), ["lambda_max"])
    equal = one(effects, compared="loss", attack=ALL)
    assert 1.3 < equal["low"] < 1.65 < equal["high"] and equal["p"] < 0.01
    assert shares[0]["high"] < 0.5


def test_holm_is_over_measures_and_counts_one_trace() -> None:
    assert "trace" not in MEASURES and len(INVARIANT) == 5
    effects, _ = backdoored(of_world(SMALL), SMALL.measures)
    for compared in ("raw", "loss"):
        found = [
            one(effects, measure=name, compared=compared, attack=ALL) for name in SMALL.measures
        ]
        assert all(row["holm"] for row in found)
    together = one(effects, measure=TOGETHER, compared="raw", attack=ALL)
    assert not together["holm"]


def test_without_checkpoints_nothing_is_said_at_equal_loss() -> None:
    of = of_world(SMALL)
    effects, _ = backdoored(of[of["kind"] == "final"], ["lambda_max"])
    assert {row["compared"] for row in effects} == {"raw", "direct"}


def test_purified_is_compared_with_itself_raw_and_at_equal_loss_and_accuracy() -> None:
    world = replace(SMALL, noise=0.02)  # the log ratio is -0.3 at the same loss
    files = made_up_minima.minima(world)
    later = rows_of(made_up_minima.purified(world, files, seeds=2, steps=2))
    of = of_world(world)
    effects = purified(of, sharpness_table.last_steps(later), ["lambda_max"])
    for method in ("ngf", "ngf, with regularizer"):
        told = {row["compared"]: row for row in effects if row["method"] == method}
        assert set(told) == {"raw", "loss", "ca"}
        assert 0.66 < told["loss"]["ratio"] < 0.83 and told["loss"]["high"] < 0.95
        assert told["raw"]["n"] == {"attacks": 3, "models": 6, "purification_seeds": 2}
    way = sharpness_table.along(later)
    assert [row["step"] for row in way if row["method"] == "ngf"] == [0, 1, 2]
    assert all(row["models"] == 6 and row["purifications"] == 12 for row in way)
    followed = later[(later["purification_seed"] == 0) | (later["step"] == later["steps"])]
    (last,) = [row for row in sharpness_table.along(followed) if row["step"] == 2][:1]
    assert last["models"] == last["purifications"] == 6
    assert not sharpness_table.along(later.iloc[:0])


def test_detectors_are_tried_by_measure_and_by_loss_alone() -> None:
    world = World(
        loss=0.0, effect=1.5, measures=("lambda_max",), images=("train",), attacks=("a", "b")
    )
    rows = detectors(of_world(world), ["lambda_max"])
    sharp, control = (one(rows, measure=name, attack=ALL) for name in ("lambda_max", CONTROL))
    assert sharp["auc"] > 0.95 > control["auc"] and sharp["low"] > control["low"]
    assert 0 <= sharp["false_alarms"] <= 0.5 < sharp["found"] <= 1
    assert {row["attack"] for row in rows} == {ALL, "a", "b"}


# ---- the file


def test_rows_are_those_of_the_files(made) -> None:
    files = made_up_minima.minima(SMALL)
    found = made(files, made_up_minima.purified(SMALL, files, seeds=2, steps=1))
    same_rows(found, files)
    assert len(found["purified"]) == 6 * 2 * 2
    assert {item["name"] for item in found["measures"]} >= {*MEASURES, COMPOSITE, CONTROL}
    assert found["hardware"] == made_up_minima.ENVIRONMENT and found["num_images"] == 1000


def same_rows(found: dict[str, Any], files: list[dict[str, Any]]) -> None:
    keys = ("data", "images", "attack", "seed", "kind", "step")
    rows = {tuple(row[key] for key in keys): row for row in found["models"]}
    given = [row for file in files for row in file["rows"] if row["images"] in IMAGES]
    assert len(rows) == len(found["models"]) == len(given)
    for row in given:
        mine = rows[tuple(row[key] for key in keys)]
        for name in (CONTROL, "lambda_max", "fisher_trace"):
            assert mine[name] == pytest.approx(row[name], rel=1e-4)


def test_nothing_measured_makes_an_empty_table(made) -> None:
    found = made()
    assert found["models"] == found["effects"] == found["detectors"] == []


def test_few_models_are_shown_and_not_compared(made) -> None:
    files = made_up_minima.minima(World(benign=2, attacks=("badnets",), seeds=1, points=3))
    found = made(files, made_up_minima.purified(World(), files, seeds=1, steps=1))
    assert len(found["models"]) == 2 * (2 * 3 + 1)
    assert found["effects"] == found["shares"] == found["detectors"] == []
    assert len(found["purified"]) == 4


def test_a_measure_without_a_logarithm_is_left_out_and_named(made) -> None:
    files = made_up_minima.minima(SMALL)
    files[-1]["rows"][0]["lambda_max"] = -0.1
    found = made(files)
    assert found["left_out"] == [{"data": "signs", "images": "train", "measure": "lambda_max"}]
    assert {row["measure"] for row in found["effects"]} == {"fisher_trace"}


def test_a_further_file_is_a_reason_to_make_it_again(made) -> None:
    made(made_up_minima.minima(World(benign=1, attacks=(), points=1)))
    (sharpness_table.MINIMA / "more.json").write_text('{"rows": []}', encoding="utf-8")
    assert sharpness_table.missing() == ["sharpness.json"]


# ---- what ships


def test_what_ships_is_of_the_files_that_ship() -> None:
    assert sharpness_table.missing() == []
    same_rows(read(SHARPNESS), read_all(MINIMA))


@pytest.mark.slow  # the statistics of all models take minutes
def test_what_ships_is_computed_from_them() -> None:
    assert as_text(sharpness_table.table()) == SHARPNESS.read_text(encoding="utf-8")
