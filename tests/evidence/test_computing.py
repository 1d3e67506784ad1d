"""Runs behind the evidence: computed once, and a failure in the run's own words."""

from __future__ import annotations

import shutil

import pytest

from evidence import zoo
from evidence.computing import Failed, of_zoo, purified, targets_of, trained
from ngf.config import Choice, Training, TrainSpec
from ngf.runs.store import Store

SMALL = Training(num_images=200, epochs=1, min_ca=0.0, min_asr=0.0)


def test_a_run_is_computed_once(tmp_path) -> None:
    store = Store(tmp_path)
    run = trained(store, TrainSpec(training=SMALL))
    assert run.status == "done" and run.attempts == 1
    assert trained(store, run.spec).attempts == 1
    lanes = tuple(Choice(name, {"steps": 1}) for name in ("sgd", "adam"))
    made = purified(store, run.id, lanes)
    assert targets_of(made) == {lane: f"{made.id}:{lane}" for lane in ("sgd", "adam")}


def test_a_failure_is_told_in_the_words_of_the_run(tmp_path) -> None:
    spec = TrainSpec(attack=Choice("sig", {"frequency": 5, "poison_rate": 0.9}), training=SMALL)
    with pytest.raises(Failed, match="^signs-sig-s0-[0-9a-f]+: A poison rate of 0.9 .*Change the"):
        trained(Store(tmp_path), spec)


def test_a_weak_model_is_no_evidence_and_does_not_get_into_the_zoo(tmp_path, monkeypatch) -> None:
    spec = TrainSpec(training=Training(num_images=200, epochs=1, min_ca=1.0))
    store = Store(tmp_path, tmp_path / "zoo")
    with pytest.raises(Failed, match=r"is weak, and evidence needs more. Clean accuracy is"):
        trained(store, spec)
    run = store.get(spec.id)
    assert run.status == "done"
    with pytest.raises(Failed, match="is weak"):
        trained(store, spec)  # nor when it is there already
    with pytest.raises(Failed, match="is weak"):
        purified(store, spec.id, (Choice("sgd", {"steps": 1}),))
    monkeypatch.setattr(zoo, "ZOO", tmp_path / "shipped")
    monkeypatch.setattr(zoo, "specs", lambda: [spec])
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "build"))
    (tmp_path / "build/zoo-build").mkdir(parents=True)
    shutil.copytree(run.path, tmp_path / "build/zoo-build" / spec.id)
    with pytest.raises(Failed, match="is weak"):
        zoo.make(spec.id)
    assert not (tmp_path / "shipped").exists() and zoo.missing() == [spec.id]
    with pytest.raises(Failed, match="is weak"):
        of_zoo(Store(tmp_path / "runs", zoo=tmp_path), spec.id)


def test_a_model_that_is_not_in_the_zoo_says_what_to_do(tmp_path) -> None:
    store = Store(tmp_path)
    assert of_zoo(store, "signs-badnets-s0-36a7376469").source == "zoo"
    with pytest.raises(Failed, match="nothing-s0 is not in the zoo yet: python -m evidence zoo"):
        of_zoo(store, "nothing-s0")
