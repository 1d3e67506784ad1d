"""What the form says is a sweep, and a sweep that it can say comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboard.sweeps.draft import SOURCES, STEPS, Draft, draft_of
from dashboard.sweeps.fields import place_of, title_of, word_of
from ngf.options import SpecError
from ngf.runs.store import Store
from ngf.sweeps.presets import PRESETS
from ngf.sweeps.spec import SweepSpec

MODEL = "signs-badnets-s0-36a7376469"  # of the zoo
FULL = Draft(
    steps="both",
    attacks=("badnets", "blend"),
    model_seeds="0..2",
    defenses=("ngf", "sgd"),
    measurement="sharpness",
    seeds="0, 5",
    more={
        "target.num_clean": "100, 500",
        "target.lanes.0.steps": "5",
        "target.parent.attack.poison_rate": "0.05..0.1 2",
        "target.parent.training.epochs": "2",
        "measurement.num_images": "64",
    },
)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_form_is_a_sweep_and_comes_back(tmp_path, steps, source):
    draft = Draft(steps=steps, source=source, models=(MODEL,))
    found = draft.sweep()
    assert found.expand(Store(tmp_path / "runs")).points
    back = draft_of(found)
    assert back is not None and back.sweep() == found
    assert (back.steps, back.trains) == (steps, draft.trains)


def test_all_that_can_be_said_comes_back(tmp_path):
    found = FULL.sweep()
    assert list(found.axes) == [
        "target.parent.attack",
        "target.parent.seed",
        "target.lanes.0",
        *FULL.more,
        "target.seed",
    ]
    assert found.base["measurement"] == "sharpness"
    back = draft_of(found)
    assert back is not None and back == replace(FULL, more=back.more)
    assert back.more["target.parent.attack.poison_rate"] == "0.05, 0.1"
    expansion = found.expand(Store(tmp_path / "runs"))
    assert len(expansion.points) == 2 * 3 * 2 * 2 * 2 * 2 and not expansion.refused


@pytest.mark.parametrize("name", PRESETS)
def test_the_form_can_say_every_preset(name):
    assert draft_of(PRESETS[name].make()) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"base": {"num_clean": 100}},
        {"base": {"lanes": [{"name": "sgd", "steps": 3}]}},
        {"axes": {"parent.attack": ["badnets", "nothing"]}},
        {"axes": {"lanes.0": [{"name": "ngf", "steps": 3}]}},
        {"leave_out": [{"seed": 0}]},
    ],
)
def test_what_the_form_cannot_say_stays_json(change):
    known = Draft().sweep().to_json()
    told = {
        **known,
        "base": {**known["base"], **change.get("base", {})},
        "axes": {**known["axes"], **change.get("axes", {})},
        **({"leave_out": change["leave_out"]} if "leave_out" in change else {}),
    }
    assert draft_of(SweepSpec.from_json(told)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attacks": ()}, "at least one attack"),
        ({"defenses": ()}, "at least one defense"),
        ({"source": "named"}, "at least one model"),
        ({"seeds": ""}, "Purification seeds has no values"),
        ({"model_seeds": "0..x, 1, 1"}, "Model seeds has the value 1 twice"),
    ],
)
def test_half_a_form_says_what_is_missing(change, said):
    with pytest.raises(SpecError) as refused:
        Draft(**change).sweep()
    assert said in str(refused.value)


def test_further_fields_are_those_of_what_is_chosen():
    fields = Draft().fields()
    assert {"num_clean", "lanes.0.trust_region", "parent.attack.poison_rate"} <= set(fields)
    assert "parent.training.epochs" in fields and "measurement.num_images" not in fields
    assert Draft().owners("lanes.0.trust_region") == ("ngf",)
    assert Draft().owners("lanes.0.steps") == (), "all have it"
    named = Draft(source="named", models=(MODEL,)).fields()
    assert not [path for path in named if path.startswith("parent.")]


def test_axes_and_values_in_words():
    base = FULL.sweep().base
    assert title_of(base, "target.parent.attack.poison_rate") == "Poison rate"
    assert title_of(base, "target.lanes.1.lr") == "Learning rate of lane 2"
    assert title_of(base, "target.parent.seed") == "Model seed"
    assert title_of(base, "target.no.such") == "target.no.such"
    assert word_of(base, "target.parent.attack", "badnets") == "BadNets"
    assert word_of(base, "target.lanes.0", {"name": "ngf", "steps": 3}) == "NGF, steps 3"
    assert word_of(base, "measurement.num_images", 4096) == "4,096"
    stages = [place_of(base, f"{path}seed").stage for path in ("", "target.", "target.parent.")]
    assert stages == ["measurement", "purification", "model"]
    assert place_of({"kind": "purify", "parent": MODEL}, "parent").stage == "model"
