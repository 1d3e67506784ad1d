"""The whole flow on one page: train and purify a run folder, from its specification to its result.

`run(path)` is what a child process calls. Everything that can be interrupted goes through the
recorder, and everything random comes from the specification, so a run that was killed ends with the
numbers of one that was not.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ngf import models
from ngf.attacks.poison import apply_in_chunks, poison, trigger_test_set
from ngf.catalogue import build
from ngf.checkpoints.waypoints import Keeper
from ngf.checkpoints.weights import (
    TRIGGER,
    load_attack,
    load_model,
    save_tensors,
    save_weights,
    train_run,
)
from ngf.config import Choice, PurifySpec, SpecError, TrainSpec, spec_from_json
from ngf.data import Splits, load
from ngf.data.shared.decoded import Progress
from ngf.defenses.race import purify
from ngf.environment import device, environment, exact_numerics
from ngf.evaluate import TestSet, der, predict, spread
from ngf.runs.files import read_json
from ngf.runs.recorder import Recorder
from ngf.runs.store import Store
from ngf.timing.estimate import NUM_LIVE
from ngf.training.attacker import Control, Scene
from ngf.training.loop import Trainer, check_gate
from ngf.training.surrogate import surrogate

_EVERY = 3.0  # seconds between two words on how far a preparation is


def run(path: Path) -> None:
    """Execute the train or purify run in folder `path`; raises Stopped when asked to, else an
    error.
    """
    exact_numerics()
    spec = spec_from_json(read_json(path / "spec.json"))
    recorder = Recorder(path)
    if isinstance(spec, TrainSpec):
        train(spec, recorder, Store(path.parent))
    elif isinstance(spec, PurifySpec):
        purify_run(spec, recorder, Store(path.parent))
    else:
        raise SpecError(f"{spec.kind} runs are executed by the analysis package.")


def train(spec: TrainSpec, recorder: Recorder, store: Store) -> None:
    """Train a network under the attack, measure it, and refuse it if it learned too little."""
    started, where = time.monotonic(), device()
    recorder.emit("phase", phase="loading data")
    splits = load(spec.data, seed=spec.seed, num_train=spec.training.num_images)
    splits.prepare(reporter(recorder))
    attack, facts = build("attacks", spec.attack), splits.source.facts
    attack.check(len(splits.classes), tuple(facts["shape"]))
    attack, control, model = prepare(spec, attack, splits, recorder, store, where)
    mix = None if control else poison(splits.train, attack, len(splits.classes), spec.seed)
    trainer = Trainer(
        model,
        (mix.data if mix else splits.train).to(where),
        spec.training,
        seed=spec.seed,
        survives_flip=facts["survives_flip"],
        control=control,
    )
    trainer.before_step = recorder.check
    keep = Keeper(recorder.path / "path" / "model", model, spec.training.epochs)
    resume(recorder, trainer)
    live = None if control else test_set(splits, attack, NUM_LIVE).to(where)
    recorder.emit("phase", phase="training")
    for epoch in trainer:
        if control:
            attack = attack.with_trigger(control.trigger())
        rates = (live or test_set(splits, attack, NUM_LIVE).to(where)).evaluate(model)
        recorder.emit(
            "epoch",
            step=epoch.epoch,
            steps=spec.training.epochs,
            loss=epoch.loss,
            lr=epoch.lr,
            ca=rates.ca,
            asr=rates.asr,
            ra=rates.ra,
        )
        keep(epoch.epoch, model)
        recorder.save_state(lambda folder: torch.save(trainer.state_dict(), folder / "trainer.pt"))
    recorder.emit("phase", phase="measuring on the whole test set")
    if control:
        attack = attack.with_trigger(control.trigger())
        save_tensors(attack.trigger, recorder.path / TRIGGER)
    rates = test_set(splits, attack).to(where).evaluate(model)
    save_weights(model, recorder.path / "model.safetensors")
    save_preview(recorder.path / "preview.npz", splits, attack, model)
    check_gate(rates, spec.training)
    recorder.finish(
        {
            **rates.to_json(),
            "asr_definition": attack.asr_definition(),
            "num_poisoned": int(mix.triggered.sum()) if mix else None,
            "num_cover": int(mix.cover.sum()) if mix else None,
            "seconds": round(time.monotonic() - started, 1),
            **(
                {"facts": facts} if "fingerprint" in facts else {}
            ),  # of images that others may lack
            "attack": {"name": spec.attack.name, **asdict(attack)},
            "environment": environment(),
        }
    )


def prepare(
    spec: TrainSpec,
    attack: Any,
    splits: Splits,
    recorder: Recorder,
    store: Store,
    where: torch.device,
) -> tuple[Any, Control | None, torch.nn.Module]:
    """The attack with its trigger, the attacker inside the loop if there is one, and the untrained
    network.

    A trigger that was prepared is kept in the run folder; a resumed run reads it from there.
    """
    progress = reporter(recorder)

    def build_model() -> torch.nn.Module:
        return models.build(spec.model, len(splits.classes), *splits.shape[:2]).to(where)

    path = recorder.path / TRIGGER
    scene = Scene(
        train=splits.train.to(where),
        num_classes=len(splits.classes),
        seed=spec.seed,
        build=build_model,
        surrogate=lambda robust: surrogate(spec, splits, robust, store, where, progress),
        survives_flip=splits.source.facts["survives_flip"],
        progress=progress,
    )
    if hasattr(attack, "prepare"):
        if not path.exists():
            torch.manual_seed(spec.seed)
            save_tensors(attack.prepare(scene), path)
        attack = attack.with_trigger(load_file(path))
    model = initial_model(spec).to(where)
    torch.manual_seed(spec.seed + 1)  # the attacker's networks, apart from the victim's
    control = attack.control(scene, model) if hasattr(attack, "control") else None
    if not control:
        save_preview(recorder.path / "preview.npz", splits, attack)
    return attack, control, model


def reporter(recorder: Recorder) -> Progress:
    """Says in the events what is being done, and every few seconds how far it is; stops the
    run when that is asked.
    """
    last = 0.0

    def progress(phase: str, step: int, steps: int) -> None:
        nonlocal last
        recorder.check()
        if step == 0:
            recorder.emit("phase", phase=phase, steps=steps)
        elif time.monotonic() > last + _EVERY:
            recorder.emit("phase", phase=f"{phase}, {step:,} of {steps:,}", steps=steps)
        else:
            return
        last = time.monotonic()

    return progress


def initial_model(spec: TrainSpec) -> torch.nn.Module:
    """The network before its first step, on the CPU; its random weights come from the seed
    alone.
    """
    facts = build("data", Choice(spec.data)).facts
    torch.manual_seed(spec.seed)
    return models.build(spec.model, len(facts["classes"]), *facts["shape"][:2])


def resume(recorder: Recorder, trainer) -> None:
    """Put `trainer` back to the last checkpoint, if there is one, and say so in the events."""
    folder = recorder.state()
    if folder is not None:
        trainer.load_state_dict(torch.load(folder / "trainer.pt", weights_only=True))
        recorder.emit("resumed", attempt=recorder.attempt, step=trainer.epoch)


def test_set(splits: Splits, attack, count: int | None = None) -> TestSet:
    """The test set, clean and (for a real attack) triggered, on the CPU; `count` of each,
    spread evenly, or all.
    """
    test = splits.test
    clean = test if count is None else test.take(spread(len(test), count))
    if not getattr(attack, "poison_rate", 0.0):
        return TestSet(clean, None)
    counted = attack.asr_mask(test.labels).nonzero()[:, 0]
    if count is not None:
        counted = counted[spread(len(counted), count)]
    return TestSet(clean, trigger_test_set(test.take(counted), attack, len(splits.classes)))


def save_preview(
    path: Path, splits: Splits, attack, model: torch.nn.Module | None = None, count: int = 6
) -> None:
    """A few test images, clean and triggered, as `pairs`, uint8 (n, 2, H, W, 3): compression sees
    what two share.

    With a model, also the class that it gives each: `says_clean` and `says_triggered`, text (n,).
    """
    test = splits.test
    wanted = attack.asr_mask(test.labels).nonzero()[:, 0]
    classes = test.labels[wanted]
    # One image of each of the first classes that count, so that the row shows variety; more of them
    # if few count.
    firsts = [int(wanted[(classes == label).nonzero()[0, 0]]) for label in classes.unique()[:count]]
    firsts += [int(index) for index in wanted[:count] if int(index) not in firsts][
        : count - len(firsts)
    ]
    clean = test.images[firsts]
    triggered = apply_in_chunks(attack, clean)

    def rows(images: torch.Tensor) -> np.ndarray:
        return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()

    def named(labels: torch.Tensor) -> np.ndarray:
        return np.array([splits.classes[label] for label in labels.tolist()])

    says = (
        {}
        if model is None
        else {
            f"says_{name}": named(predict(model, images.to(next(model.parameters()).device)))
            for name, images in (("clean", clean), ("triggered", triggered))
        }
    )
    np.savez_compressed(
        path,
        pairs=np.stack([rows(clean), rows(triggered)], axis=1),
        labels=named(test.labels[firsts]),
        **says,
    )


def purify_run(spec: PurifySpec, recorder: Recorder, store: Store) -> None:
    """Purify the parent's model by every lane, step by step in turn, and measure before and
    after.
    """
    where = device()
    origin = train_run(store, spec.parent)
    recorder.emit("phase", phase="loading model and data")
    splits = load(origin.spec.data, seed=spec.seed, num_clean=spec.num_clean)
    attack = load_attack(origin)

    def fresh_model():
        return load_model(store, spec.parent, where).model

    race = purify(
        spec, fresh_model, splits, test_set(splits, attack, NUM_LIVE).to(where), recorder, where
    )
    recorder.emit("phase", phase="measuring on the whole test set")
    whole = test_set(splits, attack).to(where)
    before = whole.evaluate(fresh_model())
    lanes = {}
    for lane in race:
        save_weights(lane.model, recorder.path / f"purified.{lane.name}.safetensors")
        after = whole.evaluate(lane.model)
        lanes[lane.name] = {"after": after.to_json(), "der": der(before, after), **lane.summary()}
    recorder.finish(
        {"before": before.to_json(), **_first(lanes), "lanes": lanes, "environment": environment()}
    )


def _first(lanes: dict) -> dict:
    """`after` and `der` of the first lane, where a reader of a single purification looks for
    them.
    """
    first = next(iter(lanes.values()))
    return {"after": first["after"], "der": first["der"]}
