"""Settings to start from: every one is a run that can be asked for, and says where its
numbers are from.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ngf.__main__ import BAD_INPUT, OK, main
from ngf.catalogue import build, catalogue
from ngf.config import spec_from_json
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.presets import ATTACKS, SCALES, preset, presets
from ngf.runs.from_text import training_from_text
from ngf.runs.store import Store
from ngf.runs.submit import checked

# Attacks of the paper whose plug-ins this version has; a preset of another one is left out.
HERE = sorted(name for name in presets() if name.startswith("paper-"))
SHAPE, CLASSES = (3, 32, 32), 10


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    return Store()


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_run_that_can_be_asked_for(name, store):
    """All its options are known and in range, and the attack suits data of its shape and
    classes.
    """
    found = preset(name)
    spec = checked(found.training(seed=4), store)
    assert spec == found.training(seed=4) and spec.seed == 4, (
        "nothing is left to normalize: equal settings, equal runs"
    )
    attack = build("attacks", spec.attack)
    attack.check(
        len(catalogue()["data"][spec.data]["classes"]),
        tuple(catalogue()["data"][spec.data]["shape"]),
    )
    assert spec.training.num_images <= catalogue()["data"][spec.data]["pools"]["train"]
    parent = store.submit(spec)
    assert checked(found.purification(parent.id, seed=2), store) == found.purification(
        parent.id, seed=2
    )
    assert json.loads(json.dumps(found.to_json()))["train"] == found.training().to_json()
    assert found.title and found.scale in SCALES
    assert len(found.sources) >= 3 and all(line.endswith(".") for line in found.sources)


def test_every_attack_has_a_preset_and_names_differ():
    made = presets()
    assert {found.spec.attack.name for found in made.values()} == set(catalogue()["attacks"])
    trainings = [found.training().id for found in made.values()]
    assert len(set(trainings)) == len(trainings)
    assert len({found.title for found in made.values()}) == len(made)


@pytest.mark.parametrize("name", HERE)
def test_the_papers_setting_is_what_its_code_has(name):
    spec = preset(name).training()
    assert (spec.data, spec.model) == ("cifar10", "preact_resnet18")
    t = spec.training
    assert (t.num_images, t.epochs, t.batch_size) == (45_000, 250, 128)
    assert (t.lr, t.momentum, t.weight_decay) == (0.1, 0.9, 5e-4)
    attack = build("attacks", spec.attack)
    if spec.attack.name != "none":
        assert attack.target == (2 if spec.attack.name == "composite" else 0)
    pure = preset(name).purification("a-run")
    assert pure.num_clean == 500 and [lane.name for lane in pure.lanes] == [
        "ngf",
        "ngf_as_released",
    ]
    text, released = (build("defenses", lane) for lane in pure.lanes)
    assert (text.layer, text.lr, text.steps, text.batch_size, text.momentum) == (
        "last",
        0.01,
        500,
        128,
        0.9,
    )
    assert (text.damping, text.trust_region, text.batch_norm) == (1e-3, 1e-2, "train")
    assert (text.radius_schedule, text.adaptive, text.regularizer) == ("constant", False, 0.1)
    assert (released.lr, released.steps, released.damping, released.weight_decay) == (
        0.01,
        500,
        1e-3,
        1e-4,
    )


@pytest.mark.parametrize("name", ["badnets", "blend", "trojan-all"])
def test_poison_rates_and_patterns_of_the_released_code(name):
    attack = build("attacks", preset(f"paper-{name}").training().attack)
    assert attack.poison_rate == 0.1
    assert {
        "badnets": lambda: (attack.size, attack.alpha, attack.margin) == (3, 0.7, 0),
        "blend": lambda: attack.alpha == 0.2,
        "trojan-all": lambda: attack.mode == "all-to-all",
    }[name]()


def test_a_gpu_gets_the_papers_setting_with_fewer_epochs():
    for name in ATTACKS:
        if f"paper-{name}" in presets():
            whole, short = (preset(f"{scale}-{name}").training() for scale in ("paper", "gpu"))
            assert (
                short.attack == whole.attack and short.training.epochs <= 30 < whole.training.epochs
            )


def test_the_laptops_badnets_is_the_model_of_the_zoo(store):
    run = store.find(preset("laptop-badnets").training().id)
    assert run is not None and run.source == "zoo", "so it is shown at once"


def test_a_preset_that_is_not_there_says_which_are():
    with pytest.raises(SpecError, match="laptop-badnets.*paper-badnets"):
        preset("nonsense")


def test_an_attack_that_is_not_there_has_no_preset(monkeypatch):
    known = catalogue()
    fewer = {
        **known,
        "attacks": {name: about for name, about in known["attacks"].items() if name != "blend"},
    }
    monkeypatch.setattr("ngf.presets.catalogue", lambda: fewer)
    assert not [name for name in presets() if "blend" in name.split("-") and "adaptive" not in name]
    with pytest.raises(SpecError, match="Unknown preset"):
        preset("paper-blend")


def test_settings_are_put_on_top_of_a_preset():
    start = preset("paper-badnets").training()
    spec = training_from_text(None, None, None, 5, ["training.epochs=2", "attack.target=3"], start)
    assert (spec.training.epochs, spec.training.num_images, spec.seed) == (2, 45_000, 5)
    assert spec.attack.options == {"preset": "ngf", "target": "3"}
    other = training_from_text("signs", None, "blend", 0, [], start)
    assert other.data == "signs" and other.model == "preact_resnet18" and other.attack.options == {}


# ---- the command line


def test_presets_are_listed_without_torch(store):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ngf", "presets", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = json.loads(done.stdout)
    assert [item["name"] for item in listed] == list(presets())
    for item in listed:
        assert spec_from_json(item["train"]).training == preset(item["name"]).training().training
        assert spec_from_json({**item["purify"], "parent": "some-run"}).num_clean == 500
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "ngf.presets" in imported and "torch" not in imported


def test_a_run_is_asked_for_by_a_preset(store, capsys):
    words = ["--detach", "--json", "--seed", "3"]
    assert (
        main(
            [
                "train",
                "--preset",
                "laptop-blend",
                *words,
                "--set",
                "training.epochs=2",
                "attack.alpha=0.3",
            ]
        )
        == OK
    )
    spec = spec_from_json(json.loads(capsys.readouterr().out)["spec"])
    assert (spec.data, spec.attack.name, spec.seed, spec.training.epochs) == (
        "signs",
        "blend",
        3,
        2,
    )
    assert spec.attack.options == {"alpha": 0.3}
    parent = preset("laptop-badnets").training().id
    assert (
        main(["purify", parent, "--preset", "paper-badnets", *words, "--set", "ngf.steps=5"]) == OK
    )
    spec = spec_from_json(json.loads(capsys.readouterr().out)["spec"])
    assert [lane.to_json() for lane in spec.lanes] == [
        {
            "name": "ngf",
            "layer": "last",
            "lr": 0.01,
            "steps": 5,
            "damping": 0.001,
            "adaptive": False,
            "augmentation": "weak",
            "radius_schedule": "constant",
            "regularizer": 0.1,
            "factor_period": 10,
            "inverse_period": 50,
            "factor_decay": 0.95,
        },
        {"name": "ngf_as_released"},
    ]
    assert (spec.parent, spec.num_clean, spec.seed) == (parent, 500, 3)
    assert main(["purify", parent, *words]) == OK
    assert [
        lane.name for lane in spec_from_json(json.loads(capsys.readouterr().out)["spec"]).lanes
    ] == ["ngf"]
    assert main(["train", "--preset", "nonsense", *words]) == BAD_INPUT
    assert "laptop-blend" in json.loads(capsys.readouterr().out)["error"]["message"]
