"""The strengths of the arena: each planned once, gone on with, and one that its form takes."""

from __future__ import annotations

import pytest

from evidence import arena_strength
from evidence.arena import METHODS, SLOW, SOME
from evidence.arena_strength import TWINS, choice, planned, specs, todo
from evidence.shipped import write
from ngf.catalogue import build, options_of

TRIALS = list(planned())


def test_every_method_has_a_rule_and_strengths_besides():
    assert {spec.attack.name for spec in specs()} == set(SOME)
    assert len(TRIALS) == len({trial.key for trial in TRIALS})
    swept = {trial.method for trial in TRIALS if trial.how == "sweep"}
    assert swept == set(METHODS) - {*SLOW, *TWINS}


@pytest.mark.parametrize("trial", TRIALS, ids=lambda t: f"{t.method}-{t.how}-{t.value:g}")
def test_a_strength_is_another_than_the_default(trial):
    build("defenses", choice(trial))
    name = arena_strength.option_of(trial.method)
    assert options_of("defenses", METHODS[trial.method])[name] != trial.value


def test_what_is_done_is_not_done_again(monkeypatch, tmp_path):
    monkeypatch.setattr(arena_strength, "FOLDER", tmp_path)
    spec, one = specs()[0], TRIALS[0]
    row = {"method": one.method, "how": one.how, "value": one.value}
    write(arena_strength.path_of(spec.id), {"rows": [row]})
    assert len(todo(spec)) == len(TRIALS) - 1 and arena_strength.missing()[0] == spec.id
