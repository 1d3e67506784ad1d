"""Purifications over seeds: planned once each, resumed, and never dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from evidence import purification
from evidence.purification import Bench, Trial, planned, todo
from evidence.shipped import read
from ngf.config import Choice
from ngf.data.images import Images
from ngf.finite import Diverged
from ngf.options import option
from tests.helpers.purification_rows import BEFORE

ONE, OTHER = "one, layer", "other, layer"


@dataclass(frozen=True, kw_only=True)
class Fake:
    """A defense whose rule takes 0.5 and whose longest steps diverge."""

    strength: ClassVar[str] = "radius"
    radius: float = option(0.1, "How far.")
    augmentation: str = "strong"
    asked: list[float] = field(default_factory=list)

    def purify(self, problem: Any) -> Any:
        self.asked.append(self.radius)
        return FakePurification(self, problem)


class FakePurification:
    def __init__(self, defense: Fake, problem: Any) -> None:
        self.defense, self.model = defense, problem.model
        self.used = defense.radius or 0.5

    def __iter__(self):
        if self.used > 0.9:
            raise Diverged("Too far", 3)
        yield from (1, 2)

    def summary(self) -> dict[str, Any]:
        return {"lr": self.used, "layer": "linear", "distance": self.used}


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list[float]:
    """The radii that defenses were asked for; everything that is real is tiny."""
    found: list[float] = []
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    images = Images(torch.zeros(6, 3, 2, 2, dtype=torch.uint8), torch.arange(6) % 3)
    splits = SimpleNamespace(
        clean=images,
        source=SimpleNamespace(facts={"survives_flip": None}),
    )
    rates = SimpleNamespace(to_json=lambda: dict(BEFORE))
    run = SimpleNamespace(spec=SimpleNamespace(data="tiny", seed=0))
    trials = [
        *(Trial(ONE, "default", 0.0, seed) for seed in range(2)),
        *(Trial(ONE, "rule", 0.0, seed) for seed in range(3)),
        *(Trial(ONE, "sweep", times, 0) for times in (1.0, 10.0)),
        Trial(OTHER, "rule", 0.0, 0),
        Trial(ONE, "weak", 0.0, 0),
    ]
    spec = SimpleNamespace(id="tiny-run", attack=SimpleNamespace(name="badnets"), seed=0)
    for name, value in {
        "FOLDER": tmp_path,
        "METHODS": {ONE: Choice("fake"), OTHER: Choice("fake")},
        "build": lambda kind, choice: Fake(asked=found),
        "load": lambda data, **more: splits,
        "load_model": lambda store, run_id: SimpleNamespace(model=model),
        "load_attack": lambda run: None,
        "of_zoo": lambda store, run_id: run,
        "test_set": lambda *of: SimpleNamespace(evaluate=lambda model: rates),
        "specs": lambda: [spec],
        "planned": lambda spec: iter(trials),
        "Store": lambda: None,
    }.items():
        monkeypatch.setattr(purification, name, value)
    return found


def test_every_trial_is_planned_once_with_several_seeds() -> None:
    for spec in purification.specs():
        trials = list(planned(spec))
        assert len({trial.key for trial in trials}) == len(trials)
        for method in purification.METHODS:
            for how in ("default", "rule"):
                seeds = {t.seed for t in trials if (t.method, t.how) == (method, how)}
                assert len(seeds) in (0, 5), "no method is tried once"
    assert {spec.attack.name for spec in purification.specs()[:15]} == set(purification.MAIN)
    main = {t.method for t in planned(purification.specs()[0]) if t.how == "rule"}
    assert main <= set(purification.METHODS)


def test_the_file_has_a_row_for_each_trial_and_is_not_made_twice(asked) -> None:
    assert purification.missing() == ["tiny-run"]
    purification.make("tiny-run")
    file = read(purification.path_of("tiny-run"))
    keys = [(row["method"], row["how"], row["times"], row["seed"]) for row in file["rows"]]
    assert keys == [trial.key for trial in purification.planned(None)]
    assert (file["run"], file["attack"], file["before"]) == ("tiny-run", "badnets", BEFORE)
    assert purification.missing() == []
    found = purification.rows()
    again = [(row["method"], row["how"], row["times"], row["seed"]) for row in found[len(keys) :]]
    assert again == [(ONE, "strong", 0.0, 0)], "the default is the strong side as well"
    for row in found:
        assert (row["run"], row["model_seed"], row["before"]) == ("tiny-run", 0, BEFORE)


def test_it_goes_on_where_it_was_cut_off(asked, monkeypatch) -> None:
    whole, purify = [], Bench.purify

    def cut(self: Bench, trial: Trial) -> dict[str, Any]:
        if len(whole) == 4:
            raise KeyboardInterrupt
        whole.append(trial)
        return purify(self, trial)

    monkeypatch.setattr(Bench, "purify", cut)
    with pytest.raises(KeyboardInterrupt):
        purification.make("tiny-run")
    kept = read(purification.path_of("tiny-run"))["rows"]
    assert len(kept) == 4 and len(todo(purification.specs()[0])) == 5
    monkeypatch.setattr(Bench, "purify", purify)
    purification.make("tiny-run")
    rows = read(purification.path_of("tiny-run"))["rows"]
    assert rows[:4] == kept and len(rows) == 9
    assert [row["strength"] for row in rows if row["how"] == "rule"] == [0.5] * 4
    assert asked.count(0.0) == 2, "what the rule chose is known from the file"


def test_the_rule_chooses_once_for_a_model_and_method(asked) -> None:
    purification.make("tiny-run")
    assert asked == [0.1, 0.1, 0.0, 0.5, 0.5, 0.1, 1.0, 0.0, 0.1]


def test_a_divergence_is_a_row(asked) -> None:
    purification.make("tiny-run")
    (row,) = [row for row in purification.rows() if row["times"] == 10.0]
    assert (row["diverged"], row["strength"]) == (3, 1.0) and "asr" not in row
    others = [row for row in purification.rows() if row["times"] != 10.0]
    assert all(0 <= row["clean_accuracy_on_own_images"] <= 1 for row in others)
    assert {row["augmentation"] for row in others if row["how"] == "weak"} == {"weak"}
