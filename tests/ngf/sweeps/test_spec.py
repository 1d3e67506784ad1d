"""A sweep expands to ordinary runs, each once."""

from __future__ import annotations

import json
import re
from copy import deepcopy

import pytest

from ngf.config import MeasureSpec, PurifySpec, TrainSpec
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.store import Store
from ngf.sweeps.spec import SweepSpec

MODEL = "signs-badnets-s0-36a7376469"  # of the zoo
BASE = {
    "kind": "measure",
    "measurement": "fisher_trace",
    "target": {
        "kind": "purify",
        "lane": "ngf",
        "lanes": ["ngf", "sgd"],
        "parent": {"kind": "train", "attack": "badnets"},
    },
}
SWEEP = {
    "kind": "sweep",
    "base": BASE,
    "axes": {
        "target.parent.attack": ["badnets", "blend"],
        "target.parent.seed": {"from": 0, "to": 2},
        "target.lanes.0.trust_region": [0.01, 0.1],
    },
    "leave_out": [{"target.parent.attack": "blend", "target.parent.seed": 2}],
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def changed(**fields):
    return SweepSpec.from_json({**deepcopy(SWEEP), **fields})


def test_every_combination_and_what_it_starts_from(store):
    found = SweepSpec.from_json(SWEEP).expand(store)
    assert len(found.points) == 2 * 3 * 2 - 2 and not found.refused
    for point in found.points:
        training, race, measurement = point.specs
        assert isinstance(training, TrainSpec) and isinstance(race, PurifySpec)
        assert isinstance(measurement, MeasureSpec) and point.spec is measurement
        assert training.attack.name == point.values["target.parent.attack"]
        assert training.seed == point.values["target.parent.seed"]
        assert race.parent == training.id and measurement.target == f"{race.id}:ngf"
    kinds = [spec.kind for spec in found.specs().values()]
    assert kinds == ["train"] * 5 + ["purify"] * 10 + ["measure"] * 10, "shared ones once, in order"


def test_names_are_those_of_single_requests(store):
    """What the zoo has, and what somebody asked for by hand, is not computed again."""
    sweep = SweepSpec.from_json(
        {
            "kind": "sweep",
            "base": {"kind": "purify", "parent": {"kind": "train"}, "lanes": ["ngf"]},
            "axes": {"parent.attack": ["badnets"], "seed": [0, 3]},
        }
    )
    found = sweep.expand(store)
    by_hand = [PurifySpec(parent=MODEL, lanes=found.points[0].spec.lanes, seed=s) for s in (0, 3)]
    assert [point.spec.id for point in found.points] == [spec.id for spec in by_hand]
    assert found.points[0].specs[0].id == MODEL


def test_a_parent_may_be_a_run_that_is_there(store):
    base = {"kind": "purify", "parent": MODEL, "lanes": ["ngf"]}
    found = changed(base=base, axes={"seed": [0, 1]}, leave_out=[]).expand(store)
    assert [len(point.specs) for point in found.points] == [1, 1]
    nobody = {**base, "parent": "nobody"}
    with pytest.raises(SpecError, match="There is no run 'nobody'"):
        changed(base=nobody, axes={"seed": [0]}, leave_out=[]).expand(store)


def test_what_does_not_go_together_is_refused_and_the_rest_goes_on(store):
    axes = {**SWEEP["axes"], "target.parent.attack.size": [3]}
    found = changed(axes=axes).expand(store)
    assert {point.values["target.parent.attack"] for point in found.points} == {"badnets"}
    assert {one.values["target.parent.attack"] for one in found.refused} == {"blend"}
    assert all("blend has no option size" in one.why for one in found.refused)
    with pytest.raises(SpecError, match="No combination of this sweep can be run"):
        changed(axes={"target.parent.attack.colour": [1]}, leave_out=[]).expand(store)


def test_the_order_of_axes_decides_nothing(store):
    """A whole is put before its parts."""
    axes = {"target.parent.attack.size": [3], "target.parent.attack": ["badnets"]}
    (point,) = changed(axes=axes, leave_out=[]).expand(store).points
    assert point.specs[0].attack.options == {"size": 3}


def test_a_sweep_is_its_json():
    sweep = SweepSpec.from_json(SWEEP)
    again = SweepSpec.from_json(json.loads(json.dumps(sweep.to_json())))
    assert again == sweep and again.id == sweep.id
    assert changed(axes={"target.parent.seed": [0]}, leave_out=[]).id != sweep.id


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "train"}, "is an object with"),
        ({"base": 3}, '"base" is the specification'),
        ({"axes": {}}, "at least one axis"),
        ({"axes": {"seed": []}, "leave_out": []}, "no values"),
        ({"leave_out": [{"colour": 1}]}, "which is no axis"),
        ({"leave_out": {"seed": 1}}, "list of objects"),
        ({"colour": 1}, "has no colour"),
        ({"base": json.loads('{"a":' * 30 + "1" + "}" * 30)}, "deeper than 20 levels"),
        (
            {"axes": {name: {"from": 1, "to": 100} for name in "abc"}, "leave_out": []},
            "1,000,000 combinations",
        ),
    ],
)
def test_what_is_no_sweep(fields, said):
    with pytest.raises(SpecError) as refused:
        changed(**fields)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ({"kind": "purify", "lanes": ["ngf"], "parent": BASE}, "parent of a purification is a"),
        (
            {"kind": "measure", "measurement": "sharpness", "target": BASE},
            "target of a measurement",
        ),
        ({"kind": "nothing"}, "A run has a kind"),
    ],
)
def test_chains_that_lead_nowhere(store, base, said):
    with pytest.raises(SpecError) as refused:
        changed(base=base, axes={"seed": [0]}, leave_out=[]).expand(store)
    assert said in str(refused.value)


def test_the_example_of_the_docs_is_one(store):
    text = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.S)
    found = SweepSpec.from_json(json.loads(example)).expand(store)
    assert len(found.points) == 2 * 3 * 3 - 3 and not found.refused
