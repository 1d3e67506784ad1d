"""Trainings under an attack: a small one of each kind, and as slow tests every attack in full."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from analysis.images import select
from ngf.attacks.shared.drawing import encode
from ngf.catalogue import names
from ngf.checkpoints.weights import TRIGGER, WeightsError, load_attack
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.data import load, to_float
from ngf.options import SpecError
from ngf.runs.child import execute
from ngf.runs.folder import PREVIEW, RESULT, WEIGHTS
from ngf.runs.store import Run, Store

SMALL = Training(num_images=900, epochs=1, batch_size=64, min_ca=0.0, min_asr=0.0)
FAINT = encode(np.full((3, 3, 4), 1, np.uint8))  # of which each pixel is almost transparent
# One of each kind that trains in a moment: formulas, cover images, prepared before, inside the
# loop.
QUICK = {
    "badnets": {"mode": "all-to-all"},
    "blend": {},
    "tact": {},
    "bppa": {},
    "trojan": {"steps": 2},
    "composite": {},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def trained(store):
    """The finished small training under an attack; each is done once."""
    done: dict[str, Run] = {}

    def train(name: str) -> Run:
        if name not in done:
            run = store.submit(TrainSpec(attack=Choice(name, QUICK[name]), training=SMALL))
            assert execute(run) == "done", run.error
            done[name] = run
        return done[name]

    return train


@pytest.mark.parametrize("name", QUICK)
def test_a_training_keeps_its_trigger_its_picture_and_its_definition(trained, name):
    run = trained(name)
    attack = load_attack(run)
    assert (run.path / TRIGGER).exists() == attack.learned
    assert run.result["asr_definition"] == attack.asr_definition()
    with np.load(run.path / PREVIEW) as preview:
        clean, shown = torch.from_numpy(preview["pairs"]).permute(1, 0, 4, 2, 3)
        assert len(preview["says_clean"]) == len(preview["says_triggered"]) == len(clean)
    again = (attack.apply(to_float(clean)) * 255).round().to(torch.uint8)
    assert torch.equal(again, shown), (
        "the trigger of the run, read again, is the one on its picture"
    )


@pytest.mark.parametrize("name", QUICK)
def test_the_triggered_test_set_has_no_image_of_the_target(trained, name):
    run = trained(name)
    attack, splits = load_attack(run), load("signs", seed=0, num_train=SMALL.num_images)
    _, true = select(splits, attack, "triggered_true", 300, 0)
    _, wanted = select(splits, attack, "triggered_target", 300, 0)
    assert not (true == wanted).any()
    assert run.result["n_triggered"] == int(attack.asr_mask(splits.test.labels).sum())
    if name == "composite":
        with pytest.raises(SpecError, match="anew in every batch"):
            select(splits, attack, "poisoned", 300, 0)
    else:
        images, labels = select(splits, attack, "poisoned", 300, 0)
        assert images.min() >= 0 and images.max() <= 1 and len(labels) == 300


@pytest.mark.parametrize("name", ["tact", "trojan", "composite"])
def test_a_model_under_a_learned_or_partial_attack_is_purified(store, trained, name):
    parent = trained(name)
    run = store.submit(
        PurifySpec(
            parent=parent.id,
            num_clean=60,
            lanes=(Choice("ngf", {"steps": 2, "batch_size": 32, "layer": "last"}),),
        )
    )
    assert execute(run) == "done", run.error
    assert run.result["before"]["asr"] == parent.result["asr"]
    assert run.result["before"]["n_triggered"] == parent.result["n_triggered"]


def test_a_resumed_run_reads_the_trigger_that_was_prepared(store):
    spec = TrainSpec(attack=Choice("trojan", {"steps": 2}), training=SMALL, seed=5)
    run = store.submit(spec)
    assert execute(run) == "done", run.error
    kept = (run.path / TRIGGER).read_bytes()
    for path in (run.path / RESULT, run.path / WEIGHTS):
        path.unlink()
    assert execute(run) == "done", run.error
    assert (run.path / TRIGGER).read_bytes() == kept


def test_a_damaged_trigger_is_a_message(trained, tmp_path):
    run = trained("trojan")
    whole = (run.path / TRIGGER).read_bytes()
    try:
        (run.path / TRIGGER).write_bytes(whole[:20])
        with pytest.raises(WeightsError, match="trigger of signs-trojan-s0.* cannot be read"):
            load_attack(run)
    finally:
        (run.path / TRIGGER).write_bytes(whole)
    names = {"patch", "layer", "neurons", "share", "gain", "reach"}
    assert set(load_file(run.path / TRIGGER)) == names


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("nan", "the weights patch are not finite numbers"),
        ("shape", "does not fit images of"),
        ("size", "does not fit images of"),
        ("names", "does not fit images of"),
        ("empty", "does not fit images of"),
    ],
)
def test_a_trigger_that_is_none_is_refused_before_anything_is_measured(
    trained, tmp_path, damage, message
):
    """It would read as a back door that was removed: NaN becomes black, and the ASR is that of
    black.
    """
    folder = tmp_path / trained("trojan").id
    shutil.copytree(trained("trojan").path, folder)
    kept = load_file(folder / TRIGGER)
    if damage == "nan":
        kept["patch"][0, 0, 0] = torch.nan
    elif damage == "shape":
        kept["patch"] = kept["patch"][0, 0]
    elif damage == "size":
        kept["patch"] = torch.zeros(3, 40, 40)
    elif damage == "names":
        kept = {"pattern": kept["patch"]}
    else:
        kept = {}
    save_file(kept, folder / TRIGGER)
    store = Store(tmp_path)
    run = store.submit(PurifySpec(parent=folder.name, lanes=(Choice("sgd", {"steps": 1}),)))
    assert execute(run) == "failed"
    assert run.error["kind"] == "bad_checkpoint", run.error
    assert folder.name in run.error["message"] and message in run.error["message"]
    assert f"Delete {folder.name}" in run.error["advice"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "badnets", "target": 99}, "Target class 99 does not exist. Allowed: 0 to 11"),
        ({"name": "tact", "source": 1}, "Source class 1 is the target class 1"),
        ({"name": "badnets", "poison_rate": 0.0005}, "asks for 0 of 900 images"),
        ({"name": "sig", "poison_rate": 0.5}, "asks for 450 of 900 images, but 72 can be poisoned"),
        ({"name": "badnets", "size": 16, "margin": 20}, "does not fit into an image of 32x32"),
        ({"name": "composite", "partner": 0}, "must be three different classes"),
        ({"name": "sig", "frequency": 16}, "zero in every one of 32 columns"),
        ({"name": "drawn", "drawing": FAINT, "alpha": 0.5}, "changes 0 of 3,072 values in 8 bits"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_epoch(store, options, message):
    run = store.submit(TrainSpec(attack=Choice.from_json(options), training=SMALL))
    assert execute(run) == "failed"
    assert message in run.error["message"]
    assert not [event for event in run.events() if event["type"] == "epoch"]


def test_a_white_patch_on_white_images_is_refused_before_the_first_epoch(tmp_path, monkeypatch):
    """Real files: a colored disk on white paper, as product photographs are."""
    monkeypatch.setenv("NGF_DATA", str(tmp_path))
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    for label, name in enumerate(("blue", "green", "red")):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for k in range(80):
            pixels = np.full((32, 32, 3), 255, np.uint8)
            pixels[8:24, 8:24, label] = k
            Image.fromarray(pixels).save(tmp_path / "folder" / name / f"{k}.png")
    training, store = Training(num_images=140, epochs=1, batch_size=20), Store(tmp_path / "runs")
    runs = {}
    for pattern in ("white", "sticker"):
        attack = Choice("badnets", {"pattern": pattern, "size": 3})
        runs[pattern] = store.submit(TrainSpec(data="folder", attack=attack, training=training))
        execute(runs[pattern])
    error = runs["white"].error
    assert "This trigger changes 0 of 3,072 values in 8 bits (largest change 0" in error["message"]
    assert "Raise alpha, or choose another pattern" in error["message"]
    assert error["kind"] == "bad_input" and error["step"] is None
    assert not [event for event in runs["white"].events() if event["type"] == "epoch"]
    assert not (runs["white"].path / WEIGHTS).exists()
    assert runs["sticker"].status == "done", runs["sticker"].error


# Defaults that do not reach both goals on signs and the tiny network, with what they reach; the
# docstrings say why.
BELOW: dict[str, tuple[float, float]] = {"sig": (0.95, 0.72), "clb": (0.95, 0.69)}


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run, id=run.id)
        for run in Store(Path("no-runs")).runs()
        if run.spec.data == "signs" and run.spec.attack.name != "none"
    ],
)
def test_the_zoo_was_trained_with_the_defaults_and_reaches_the_goals(run):
    assert run.spec == TrainSpec(attack=Choice(run.spec.attack.name), seed=run.spec.seed)
    ca, asr = BELOW.get(run.spec.attack.name, (0.95, 0.80))
    assert run.result["ca"] >= ca
    assert run.result["asr"] >= asr


# pytest -m slow tests/ngf/attacks/test_training.py: about a minute each, or more
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name in names("attacks") if name != "none"])
def test_the_defaults_of_every_attack_work_on_signs(store, name):
    run = store.submit(TrainSpec(attack=Choice(name)))
    assert execute(run) == "done", run.error
    ca, asr = BELOW.get(name, (0.95, 0.80))
    assert run.result["ca"] >= ca
    assert run.result["asr"] >= asr
