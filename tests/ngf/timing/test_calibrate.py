"""Steps of the real training and the real defenses are timed. No test asserts a time."""

from __future__ import annotations

import json
import math

import pytest

from ngf.__main__ import BAD_INPUT, OK, main
from ngf.places import cache_dir
from ngf.runs.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    return Store()


@pytest.mark.parametrize(
    "words",
    [
        [
            "--data",
            "signs",
            "--set",
            "training.num_images=256",
            "training.batch_size=8",
            "training.epochs=1",
        ],
        [
            "--attack",
            "trojan",
            "--set",
            "training.num_images=256",
            "training.batch_size=8",
            "attack.steps=2",
        ],
        ["--attack", "composite", "--set", "training.num_images=256", "training.batch_size=16"],
        [
            "--data",
            "fashion_mnist",
            "--defense",
            "ngf",
            "--defense",
            "sgd",
            "--num-clean",
            "16",
            "--set",
            "ngf.layer=last",
        ],
        ["--defense", "ngf", "--num-clean", "16"],
        ["--defense", "awm", "--defense", "rnp", "--defense", "tsbd", "--num-clean", "16"],
    ],
    ids=["formula", "prepared", "controlled", "race", "choosing", "phases"],
)
def test_steps_are_timed_and_kept(words, store, monkeypatch, capsys):
    monkeypatch.setattr("ngf.timing.calibrate.BUDGET", 0.01)
    monkeypatch.setattr("ngf.timing.calibrate._CHOOSING", 8)
    assert main(["calibrate", "--json", *words]) == OK
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert found["seconds"] > 0 and "Timing preact_resnet_tiny" in out.err
    for times in found["times"]:
        assert all(math.isfinite(value) and value >= 0 for value in times.values())
        assert times["step"] > 0 and times["image"] > 0
    assert len(found["times"]) == 1 + ("--defense" in words and words.count("--defense") - 1)
    if "trojan" in words:
        assert found["times"][0]["surrogate"] > 0 and found["times"][0]["prepare"] > 0
    if "awm" in words:
        disturbing_among_masking, masking, tuning = (times["work"] for times in found["times"])
        assert 4 < disturbing_among_masking < 6 and (masking, tuning) == (3, 6)
    if "choosing" in words:
        assert found["times"][0]["choose"] > 0
    assert list((cache_dir() / "calibration").glob("*.json"))


def test_what_cannot_run_is_not_timed(store, capsys):
    for words, said in (
        (["--model", "nonsense"], "preact_resnet_tiny"),
        (["--defense", "nonsense"], "ngf"),
        (["--attack", "badnets", "--set", "attack.target=50"], "does not exist"),
        (["--set", "training.processes=2"], "Steps of several processes are not timed"),
    ):
        assert main(["calibrate", "--json", *words]) == BAD_INPUT
        assert said in json.loads(capsys.readouterr().out)["error"]["message"]
