"""What can be asked for, and the names that specifications give to runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ngf.config import (
    REVISION,
    Choice,
    MeasureSpec,
    PurifySpec,
    Training,
    TrainSpec,
    check_revision,
    spec_from_json,
)
from ngf.options import SpecError

SPECS = [
    TrainSpec(),
    TrainSpec(attack=Choice("badnets", {"size": 3}), training=Training(epochs=2), seed=4),
    PurifySpec(parent="a", lanes=(Choice("ngf"), Choice("sgd", {"lr": 0.1}))),
    MeasureSpec(target="a:ngf", measurement=Choice("loss_slice")),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_a_specification_survives_json(spec):
    again = spec_from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.id == spec.id


def test_defaults_are_left_out_so_new_fields_keep_old_names():
    assert TrainSpec().to_json() == {"kind": "train", "revision": REVISION}
    assert TrainSpec(training=Training(epochs=20)).id == TrainSpec().id
    assert TrainSpec(seed=1).id != TrainSpec().id


def test_processes_share_batches_that_are_large_enough():
    assert Training(processes=1) == Training() and Training(processes=1).to_json() == {}
    assert Training(processes="2").to_json() == {"processes": 2}
    with pytest.raises(SpecError, match=r"batches of 7 images: each needs 2 .* 3 processes or f"):
        Training(processes=4, batch_size=7)
    with pytest.raises(SpecError, match="batches of 16 images"):
        Training(processes=9, num_images=16)
    with pytest.raises(SpecError, match="of several processes only"):
        Training(sync_batch_norm=False)


def test_lanes_have_names_of_their_own():
    spec = PurifySpec(parent="a", lanes=(Choice("sgd"), Choice("ngf"), Choice("sgd", {"lr": 1.0})))
    assert spec.lane_names() == ("sgd", "ngf", "sgd-2")


def test_a_lane_without_a_name_is_the_first_one():
    spec = PurifySpec(parent="a", lanes=(Choice("sgd"), Choice("ngf")))
    assert (spec.lane_name(""), spec.lane_name("ngf")) == ("sgd", "ngf")
    with pytest.raises(SpecError, match="no lane 'adam'. Allowed: sgd, ngf"):
        spec.lane_name("adam")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"kind": "trian"}, "one of train, purify, measure"),
        ([], "one of train"),
        ({"kind": "train", "epochs": 3}, "Unknown field epochs. Allowed: attack, content, data"),
        ({"kind": "train", "seed": -1}, "out of range"),
        ({"kind": "train", "seed": "x"}, "whole number"),
        ({"kind": "train", "attack": 3}, "needs a name"),
        ({"kind": "train", "training": {"epoch": 1}}, "training takes"),
        ({"kind": "train", "training": {"lr": float("nan")}}, "is not a number"),
        ({"kind": "purify"}, "needs parent, lanes"),
        ({"kind": "purify", "parent": "a", "lanes": []}, "at least one"),
        ({"kind": "purify", "parent": "a", "lanes": ["ngf"], "num_clean": 3}, "from 10 to 5000"),
    ],
)
def test_broken_specifications_say_what_is_allowed(broken, message):
    with pytest.raises(SpecError, match=message):
        spec_from_json(broken)


def test_names_of_runs_stay() -> None:
    """Also those of the first revision, which does not say that it is one."""
    assert TrainSpec().id == "signs-none-s0-127bd5635e"
    assert spec_from_json({"kind": "train"}).id == "signs-none-s0-1c8392ad8a"
    raced = PurifySpec(
        parent="signs-none-s0-1c8392ad8a", lanes=(Choice("ngf"), Choice("sgd", {"steps": 7}))
    )
    former = {key: value for key, value in raced.to_json().items() if key != "revision"}
    assert spec_from_json(former).id == "ngf-vs-sgd-3ba8b8002d"
    assert raced.id not in ("", "ngf-vs-sgd-3ba8b8002d")


def test_a_specification_of_the_first_revision_keeps_its_meaning() -> None:
    former = spec_from_json({"kind": "purify", "parent": "a", "lanes": ["ngf"]})
    assert isinstance(former, PurifySpec)
    assert (former.revision, former.choosing) == (1, "reserved")
    assert spec_from_json(former.to_json()) == former
    now = replace(former, revision=REVISION)
    assert spec_from_json(now.to_json()) == now and now.to_json()["choosing"] == "reserved"
    check_revision(now)
    with pytest.raises(SpecError, match="was asked of an earlier version.*Ask for it anew"):
        check_revision(former)
