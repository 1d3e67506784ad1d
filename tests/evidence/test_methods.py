"""The tables of methods are what the rows say, whatever is there."""

from __future__ import annotations

import json
from statistics import fmean, stdev

import numpy as np
import pytest

from evidence import methods, purification
from evidence.shipped import as_text, read, write
from ngf.config import Choice
from tests.helpers.purification_rows import file, files, row, rows_of


@pytest.fixture(scope="module")
def made():
    return files(models=2)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where the step reads and writes."""
    monkeypatch.setattr(purification, "FOLDER", tmp_path / "purification")
    monkeypatch.setattr(methods, "PATH", tmp_path / "methods.json")
    return tmp_path


def test_the_shipped_tables_are_what_the_files_say() -> None:
    assert methods.missing() == []


def test_nothing_measured_makes_empty_tables(folder) -> None:
    found = methods.tables()
    assert found["about"]["rows"] == 0 < found["about"]["rows_planned"]
    assert not any(found[name] for name in ("methods", "models", "equal_accuracy", "augmentation"))
    methods.make("methods.json")
    assert methods.missing() == []


def test_both_spreads_are_in_every_row(made) -> None:
    rows = methods.by_method(methods.frame(rows_of(made)))
    (found,) = [
        item
        for item in rows
        if (item["how"], item["attack"], item["method"]) == ("rule", "blend", "ngf, one layer")
    ]
    of = [
        [
            one["asr"]
            for one in model["rows"]
            if one["how"] == "rule" and one["method"] == "ngf, one layer"
        ]
        for model in made
        if model["attack"] == "blend"
    ]
    means = [fmean(values) for values in of]
    assert found["asr"] == pytest.approx(fmean(means), abs=1e-5)
    assert found["asr_between_models"] == pytest.approx(stdev(means), abs=1e-5)
    pooled = np.sqrt(fmean([stdev(values) ** 2 for values in of]))
    assert found["asr_between_seeds"] == pytest.approx(pooled, abs=1e-5)
    assert (found["models"], found["purification_seeds"], found["purifications"]) == (2, 3, 6)
    before = next(item for item in rows if item["how"] == methods.BEFORE)
    assert (before["asr"], before["asr_between_seeds"], before["strength_median"]) == (
        0.95,
        None,
        None,
    )


def test_no_row_is_left_out(made) -> None:
    frame = methods.frame(rows_of(made))
    rows = methods.by_method(frame)
    for how in ("default", "rule"):
        tried = sum(one["how"] == how for of in made for one in of["rows"])
        assert sum(item["purifications"] for item in rows if item["how"] == how) == tried
    swept = {
        (one["method"], of["attack"]) for of in made for one in of["rows"] if one["how"] == "sweep"
    }
    told = {(item["method"], item["attack"]) for item in methods.equal_accuracy(frame)}
    assert swept == {of for of in told if of[1] != methods.ALL}


def test_a_divergence_is_counted_and_has_no_rates() -> None:
    one = file("badnets", 0, how={"default": ("ngf, one layer",)}, seeds=2)
    lost = {"method": "ngf, one layer", "how": "default", "times": 0.0, "seed": 2, "strength": 0.1}
    one["rows"].append(lost | {"diverged": 12, "seconds": 1.0})
    only = file("blend", 0, how={})
    only["rows"].append(lost | {"diverged": 3, "seconds": 1.0})
    frame = methods.frame(rows_of([one, only]))
    some, none = [item for item in methods.by_method(frame) if item["how"] == "default"]
    assert (some["diverged"], some["purifications"], some["purification_seeds"]) == (1, 3, 3)
    assert some["asr"] == pytest.approx(fmean([of["asr"] for of in one["rows"][:2]]), abs=1e-5)
    assert (none["diverged"], none["asr"], none["ca_between_seeds"]) == (1, None, None)
    models = [item for item in methods.by_model(frame) if item["how"] == "default"]
    assert [(item["diverged"], item["asr_low"]) for item in models][1] == (1, None)


def test_a_model_has_the_ends_of_its_purifications(made) -> None:
    found = methods.by_model(methods.frame(rows_of(made)))
    for item in found:
        if item["how"] == methods.BEFORE:
            assert item["asr_low"] == item["asr"] == item["asr_high"] == 0.95
            continue
        (of,) = [model for model in made if model["run"] == item["run"]]
        values = [
            one["asr"]
            for one in of["rows"]
            if (one["how"], one["method"]) == (item["how"], item["method"])
        ]
        ends = (min(values), fmean(values), max(values))
        assert (item["asr_low"], item["asr"], item["asr_high"]) == pytest.approx(ends, abs=1e-5)


def test_equal_accuracy_is_read_from_the_sweep(made) -> None:
    """ASR falls by 10 points for each default strength, which costs one point of accuracy."""
    found = {
        (item["attack"], item["method"], item["drop"]): item
        for item in methods.equal_accuracy(methods.frame(rows_of(made)))
    }
    one, two = (found["badnets", "sgd, all layers", drop] for drop in (0.01, 0.02))
    assert one["asr"] == pytest.approx(0.55, abs=0.03) and two["asr"] == pytest.approx(
        0.45, abs=0.03
    )
    assert (one["reached"], one["of"], one["models"]) == (6, 6, 2)
    assert found["all", "sgd, all layers", 0.01]["of"] == 18


def test_augmentation_is_compared_on_the_same_draws(made) -> None:
    found = methods.augmentation(methods.frame(rows_of(made)))
    (all_of,) = [
        item for item in found if (item["attack"], item["method"]) == ("all", "sgd, all layers")
    ]
    assert all_of["asr_difference"] == pytest.approx(-0.3, abs=0.02)
    assert all_of["low"] < all_of["asr_difference"] < all_of["high"] < 0
    assert all_of["asr_weak"] - all_of["asr_strong"] == pytest.approx(0.3, abs=0.02)


def test_a_method_nobody_has_listed_is_told_as_well(folder) -> None:
    made = file("badnets", 0, how={}, seeds=1)
    made["rows"].append(row("a new idea", "default", 0.0, 0, 0.5, 0.98))
    write(folder / "purification" / "a.json", made)
    found = methods.tables()
    assert [item["method"] for item in found["methods"]] == ["before", "a new idea"]
    assert found["about"]["steps"] == {}
    json.loads(as_text(found))


def test_the_step_writes_what_it_says(folder, made, monkeypatch) -> None:
    monkeypatch.setattr(methods, "METHODS", {"sgd, all layers": Choice("sgd")})
    for one in made[:2]:
        write(folder / "purification" / f"{one['run']}.json", one)
    assert methods.missing() == ["methods.json"]
    methods.make("methods.json")
    assert methods.missing() == []
    about = read(folder / "methods.json")["about"]
    assert (about["models"], about["num_clean"], about["n_clean"]) == (2, [500], [2400])
    assert about["rows"] == sum(len(one["rows"]) for one in made[:2])
