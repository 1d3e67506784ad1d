"""What a sweep would be: counted, timed by what is known, told with its sources."""

from __future__ import annotations

import pytest

from dashboard.kit import estimate
from dashboard.sweeps.draft import Draft
from dashboard.sweeps.plan import plan_of
from ngf.catalogue import catalogue
from ngf.config import PurifySpec
from ngf.options import SpecError
from ngf.sweeps.control import submit_all
from ngf.sweeps.spec import SweepSpec
from ngf.timing.estimate import cases

SMALL = Draft(attacks=("badnets",), defenses=("sgd",), model_seeds="0, 77", seeds="0, 1").sweep()


def test_runs_are_counted_as_far_as_they_are_there(store):
    plan = plan_of(SMALL)
    assert plan.counted == "6 runs: 2 trainings, 4 purifications"
    assert len(plan.left) == 5 and plan.waiting == 0, "the model with seed 0 is of the zoo"
    submit_all({name: plan.specs[name] for name in plan.left[:2]}, store, "sweep-x")
    assert plan_of(SMALL).waiting == 2


def test_time_is_known_by_what_ships_then_by_what_was_timed_here(store, monkeypatch, tmp_path):
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    plan = plan_of(SMALL)
    assert plan.unknown == 0 and plan.seconds > 0 and "another machine" in plan.length
    race = next(spec for spec in plan.specs.values() if isinstance(spec, PurifySpec))
    (case,) = cases(race, "preact_resnet_tiny", catalogue()["data"]["signs"]) or []
    case.keep({"choose": 0, "begin": 0, "first": 1, "step": 1, "image": 0, "steps": 100})
    timed = plan_of(SMALL)
    assert timed.sources == ("timed", "shipped") and timed.seconds != plan.seconds
    assert estimate.SOURCES["timed"] in timed.length
    assert timed.untimed is not None and timed.untimed.kind == "train"


def test_what_nobody_has_timed_is_told(store):
    plan = plan_of(Draft(steps="measure", attacks=("blend",), more={"seed": "71..73"}).sweep())
    assert plan.unknown == 3 and plan.length.startswith("How long that takes is not known here yet")
    shipped = Draft(steps="measure", measurement="fisher_trace", attacks=("blend",)).sweep()
    assert plan_of(shipped).left == () and plan_of(shipped).length == "", "it was measured before"


def test_a_sweep_without_any_run_says_why(store):
    with pytest.raises(SpecError, match="There is no run 'nobody'"):
        plan_of(
            SweepSpec({"kind": "purify", "parent": "nobody", "lanes": ["ngf"]}, {"seed": (0, 1)})
        )
