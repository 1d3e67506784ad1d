"""A training from its specification to its result.

`run(path)` is what a child process calls. Everything that can be interrupted goes through the
recorder, and everything random comes from the specification, so a run that was killed ends with the
numbers of one that was not.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from ngf import models
from ngf.attacks.base import Attack, InLoop, Prepared
from ngf.attacks.poison import (
    PoisonedImages,
    check_test_trigger,
    check_training_trigger,
    effect_on_test,
    poison,
)
from ngf.attacks.shared.effect import MOST
from ngf.catalogue import build
from ngf.checkpoints.waypoints import Keeper
from ngf.checkpoints.weights import read_trigger, save_tensors, save_weights, trigger_fault
from ngf.config import NUM_LIVE, TrainSpec, check_revision
from ngf.data import Splits, load
from ngf.environment import device, environment, exact_numerics
from ngf.evaluate import Rates, TestSet, test_set
from ngf.finite import Diverged
from ngf.options import SpecError
from ngf.progress import Progress
from ngf.runs.content import check_content
from ngf.runs.folder import PREVIEW, TRIGGER, WEIGHTS, waypoints
from ngf.runs.recorder import Recorder
from ngf.runs.store import Store, TrainRun, open_run
from ngf.training.attacker import AttackerView, InLoopAttacker
from ngf.training.loop import Trainer, missed_gates
from ngf.training.preview import save_preview
from ngf.training.several import train_by_several
from ngf.training.surrogate import surrogate
from ngf.training.team import ALONE, Team, Work

_EVERY = 3.0  # seconds between two words on how far a preparation is


def run(path: Path) -> None:
    """Execute the training in folder `path`; raises Stopped when asked to, else an error."""
    exact_numerics()
    store = Store(path.parent)
    training = open_run(store, path)
    if not isinstance(training, TrainRun):
        raise SpecError(f"{training.id} is no training.")
    if training.spec.training.processes > 1:
        train_by_several(path, training.spec.training.processes)
    else:
        train(training.spec, Recorder(path), store)


def train(spec: TrainSpec, recorder: Recorder, store: Store, team: Team = ALONE) -> None:
    """Train a network under the attack, measure it, and say so if it learned too little.

    team: the processes that train together; this is the first of them.
    """
    started, where = time.monotonic(), device()
    check_revision(spec)
    check_content(spec)  # it may have waited while somebody changed the images
    recorder.emit("phase", phase="loading data")
    splits = load(spec.data, seed=spec.seed, num_train=spec.training.num_images)
    splits.prepare(reporter(recorder))
    attack: Attack = build("attacks", spec.attack)
    facts = splits.source.facts
    attack.check(len(splits.classes), splits.shape)
    if not attack.learned:  # before anything is computed for its training images
        _check_effect(attack, splits)
    attack, attacker, model = prepare(spec, attack, splits, recorder, store, where)
    mix = None if attacker else poison(splits.train, attack, len(splits.classes), spec.seed)
    if not attacker:
        _check_effect(attack, splits, mix)
    num_poisoned = int(mix.triggered.sum()) if mix else None
    num_cover = int(mix.cover.sum()) if mix else None
    data = team.hand_out(Work(mix.data if mix else splits.train, facts, attacker), where)
    del mix
    splits.forget_train()
    trainer = Trainer(
        model,
        data,
        spec.training,
        seed=spec.seed,
        survives_flip=facts["survives_flip"],
        attacker=attacker,
        team=team,
    )

    def before_step() -> None:
        recorder.check()
        team.go_on()

    trainer.before_step = before_step
    keep = Keeper(recorder.path / waypoints(), model, spec.training.epochs)
    resume(recorder, trainer)
    live = None if attacker else test_set(splits, attack, NUM_LIVE).to(where)
    recorder.emit("phase", phase="training")
    for epoch in trainer:
        if attacker:
            attack = attack.with_trigger(attacker.trigger())
            check_trigger(attack, splits.shape, epoch.epoch)
        rates = _evaluated(live or test_set(splits, attack, NUM_LIVE).to(where), model, epoch.epoch)
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
    if attacker:
        attack = attack.with_trigger(attacker.trigger())
        save_tensors(attack.trigger, recorder.path / TRIGGER)
    rates = _evaluated(test_set(splits, attack).to(where), model, spec.training.epochs)
    save_weights(model, recorder.path / WEIGHTS)
    save_preview(recorder.path / PREVIEW, splits, attack, model)
    weak = _weak(spec, attack, rates, splits)
    recorder.finish(
        {
            **rates.to_json(),
            "asr_definition": attack.asr_definition(),
            "num_poisoned": num_poisoned,
            "num_cover": num_cover,
            "seconds": round(time.monotonic() - started, 1),
            # of images that others may lack
            **({"facts": facts} if "fingerprint" in facts else {}),
            **({"weak": weak} if weak else {}),
            "attack": {"name": spec.attack.name, **asdict(cast(Any, attack))},
            "environment": environment(),
        }
    )


def _check_effect(attack: Attack, splits: Splits, mix: PoisonedImages | None = None) -> None:
    """Raise SpecError for a trigger that does nothing on most images, those of `mix` included."""
    if attack.poison_rate:
        check_test_trigger(attack, splits.test)
        if mix is not None:
            check_training_trigger(attack, splits.train, mix)


def _weak(spec: TrainSpec, attack: Attack, rates: Rates, splits: Splits) -> dict[str, Any] | None:
    """Why the model counts as weak, for its result: `reason` in words, and `missed`, a list (see
    `missed_gates`); None where it does not.
    """
    missed = missed_gates(rates, spec.training)
    if isinstance(attack, InLoop):  # its trigger was not there before the training
        effect = effect_on_test(attack, splits.test)
        if effect.nothing:
            share = 1 - effect.unchanged / effect.count
            said = f"{effect.sentence('test images')} {attack.stronger}"
            missed.append({"gate": "trigger", "value": share, "wanted": 1 - MOST, "reason": said})
    if not missed:
        return None
    return {"reason": " ".join(item["reason"] for item in missed), "missed": missed}


def check_trigger(attack: Attack, shape: tuple[int, int, int], epoch: int | None = None) -> None:
    """Raise Diverged when what an attack has learned is not finite, or does not fit the images.

    shape: (C, H, W).
    """
    if (reason := trigger_fault(attack, shape)) is not None:
        raise Diverged(
            f"The trigger that was learned cannot be used: {reason}",
            epoch,
            unit="epoch",
            advice="Start a new run with other settings of the attack, such as a smaller learning "
            "rate.",
        )


def _evaluated(images: TestSet, model: torch.nn.Module, epoch: int) -> Rates:
    """Rates of the model after an epoch. Raises Diverged with that epoch."""
    try:
        return images.evaluate(model)
    except Diverged as error:
        raise error.at(epoch, "epoch") from error


def prepare(
    spec: TrainSpec,
    attack: Attack,
    splits: Splits,
    recorder: Recorder,
    store: Store,
    where: torch.device,
) -> tuple[Attack, InLoopAttacker | None, torch.nn.Module]:
    """The attack with its trigger, the attacker inside the loop if there is one, and the untrained
    network.

    A trigger that was prepared is kept in the run folder; a resumed run reads it from there.
    """
    progress = reporter(recorder)

    def build_model() -> torch.nn.Module:
        return models.for_data(spec.model, splits.source.facts).to(where)

    path = recorder.path / TRIGGER

    def view() -> AttackerView:
        return AttackerView(
            train=splits.train.to(where),
            num_classes=len(splits.classes),
            seed=spec.seed,
            build=build_model,
            surrogate=lambda robust: surrogate(spec, splits, robust, store, where, progress),
            survives_flip=splits.source.facts["survives_flip"],
            progress=progress,
        )

    if isinstance(attack, Prepared):
        if not path.exists():
            torch.manual_seed(spec.seed)
            made = attack.with_trigger(attack.prepare(view()))
            check_trigger(made, splits.shape)
            save_tensors(made.trigger, path)
        attack = read_trigger(
            attack,
            path,
            splits.shape,
            recorder.path.name,
            f"Delete {recorder.path.name} and start it again: the trigger is then made anew.",
        )
    model = initial_model(spec).to(where)
    torch.manual_seed(spec.seed + 1)  # the attacker's networks, apart from the victim's
    attacker = attack.attacker(view(), model) if isinstance(attack, InLoop) else None
    if not attacker:
        save_preview(recorder.path / PREVIEW, splits, attack)
    return attack, attacker, model


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
    facts = build("data", spec.source).facts
    torch.manual_seed(spec.seed)
    return models.for_data(spec.model, facts)


def resume(recorder: Recorder, trainer: Trainer) -> None:
    """Put `trainer` back to the last checkpoint, if there is one, and say so in the events."""
    folder = recorder.state()
    if folder is not None:
        trainer.load_state_dict(torch.load(folder / "trainer.pt", weights_only=True))
        recorder.emit("resumed", attempt=recorder.attempt, step=trainer.epoch)
