"""Weights on disk: safetensors only, checked against the model before a single value is used."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ngf import models
from ngf.attacks.base import Attack, OwnTrainingTrigger
from ngf.catalogue import build
from ngf.config import Target, TrainSpec
from ngf.data.base import DataSet
from ngf.finite import broken, check_weights, not_finite, some
from ngf.models.bounds import add_bounds, bounds_for, bounds_of
from ngf.options import Explained, SpecError
from ngf.runs.files import READABLE
from ngf.runs.folder import TRIGGER, WEIGHTS, purified_weights
from ngf.runs.store import NoSuchRun, PurifyRun, Run, Store, TrainRun, parent_id


class WeightsError(Explained, ValueError):
    """A checkpoint that cannot be used; the message gives the reason."""

    kind = "bad_checkpoint"
    advice = "Choose another model."


def save_weights(model: nn.Module, path: Path) -> None:
    """Write parameters and buffers atomically. Raises Diverged when they are not finite."""
    check_weights(model.state_dict())
    save_tensors(model.state_dict(), path)


def load_weights(model: nn.Module, path: Path, advice: str = "") -> nn.Module:
    """Fill `model` from a safetensors file and return it in eval mode; bounds that the file has
    (see `ngf.models.bounds`) are added to it.

    advice: what to do when that fails, where more is known than that the file is no good.

    Raises WeightsError when the file is missing, cut short, of another architecture, or holds NaN.
    """
    found = read_tensors(path, advice)
    add_bounds(model, bounds_for(found, model.state_dict().keys()))
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise WeightsError(
            f"{path.name} does not fit the model: it lacks {some(missing)} and has "
            f"{some(extra)} too many.",
            advice=advice,
        )
    check_like(found, wanted, path, advice)
    model.load_state_dict(found)  # half precision, in which the zoo ships, is widened here
    return model.eval()


def read_tensors(path: Path, advice: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name, every number finite. Raises WeightsError."""
    try:
        found: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path.name} cannot be read as safetensors: {error}.", advice=advice
        ) from error
    if names := broken(found):
        raise WeightsError(
            f"{path.name}: {not_finite(names)[:1].lower()}{not_finite(names)[1:]}.", advice=advice
        )
    return found


def check_like(
    found: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
    path: Path,
    advice: str = "",
) -> None:
    """Raise WeightsError unless every tensor that was found has the name, type and shape of one
    that is wanted.
    """
    for name, value in found.items():
        if name not in wanted:
            raise WeightsError(f"{path.name}: the model has no {name}.", advice=advice)
        like = wanted[name]
        half = value.dtype == torch.float16 and like.dtype == torch.float32
        if value.shape != like.shape or value.dtype != like.dtype and not half:
            raise WeightsError(
                f"{path.name}: {name} is {value.dtype} {tuple(value.shape)}, the model needs "
                f"{like.dtype} {tuple(like.shape)}.",
                advice=advice,
            )


def made_again(run: Run) -> str:
    """What to do when a file of a run is no good."""
    if run.source != "user":
        return (
            f"{run.id} ships with the program: put its folder back as it was, or choose another "
            "model."
        )
    return f"Delete {run.id}, start it again with the same settings, and then this one."


@dataclass(frozen=True)
class Loaded:
    """A model with the training it comes from; `lane` is empty unless a defense made it."""

    model: nn.Module
    train_spec: TrainSpec
    run: Run
    lane: str = ""


def training_of(store: Store, run_id: str) -> TrainRun:
    """The training that run `run_id` goes back to. Raises `NoSuchRun` when one on the way was
    deleted.
    """
    run = store.get(run_id)
    while not isinstance(run, TrainRun):
        before = parent_id(run.spec) or ""
        found = store.find(before)
        if found is None:
            raise NoSuchRun(
                f"{run.id} starts from {before}, which was deleted.",
                advice="Train that model again, with the same settings, or choose another one.",
            )
        run = found
    return run


def load_model(store: Store, target: str, device: torch.device | str = "cpu") -> Loaded:
    """The model of `id` (a training) or `id:lane` (a purification; the first lane when none is
    named).

    Raises `NoSuchRun`, SpecError for a lane that there is none of, and WeightsError.
    """
    named = Target.parse(target)
    run, origin = store.get(named.run), training_of(store, named.run)
    spec, lane = origin.spec, named.lane
    if isinstance(run, PurifyRun):
        lane = run.spec.lane_name(lane)
        check_lane(run, lane)
        path = run.path / purified_weights(lane)
    elif lane:
        raise SpecError(f"{run.id} is a {run.kind} run; only a purification has lanes.")
    else:
        path = run.path / WEIGHTS
    if not path.exists():
        raise _no_weights(run)
    data: DataSet = build("data", spec.source)
    facts, then = data.facts, (origin.result or {}).get("facts", {}).get("fingerprint")
    if then and then != facts.get("fingerprint"):
        raise WeightsError(
            f"The images of {spec.data} are not those that {origin.id} was trained on: files were "
            "added, changed or taken away.",
            advice=f"Put them back, or delete {origin.id} and train again.",
        )
    model = load_weights(models.for_data(spec.model, facts), path, made_again(run))
    _check_bounds(model, facts["shape"], path, made_again(run))
    return Loaded(model.to(device), spec, run, lane)


def _check_bounds(model: nn.Module, shape: Sequence[int], path: Path, advice: str) -> None:
    """Raise WeightsError for bounds that do not fit what the network makes of such images."""
    if not bounds_of(model.state_dict()):
        return
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise WeightsError(
            f"{path.name} has bounds that do not fit the model: {error}.", advice=advice
        ) from error


def check_lane(run: PurifyRun, lane: str) -> None:
    """Raise WeightsError for a lane that diverged: it has left no weights."""
    if (step := run.diverged().get(lane)) is not None:
        raise WeightsError(
            f"{run.id}:{lane} diverged at step {step}, so it has left no model.",
            advice=f"Choose {' or '.join(f'{run.id}:{name}' for name in run.sound_lanes())}, or "
            f"purify again with a smaller learning rate for {lane}.",
        )


def _no_weights(run: Run) -> WeightsError:
    """Why there are none, and what to do, by the state of a run."""
    if run.status == "done":
        return WeightsError(f"The weights of {run.id} are gone.", advice=made_again(run))
    if run.status == "failed":
        return WeightsError(
            f"{run.id} has failed and has left no weights.",
            advice=f"Start {run.id} again when what it says is put right, or choose another model.",
        )
    return WeightsError(
        f"{run.id} has no weights yet ({run.status}).",
        advice=f"Let {run.id} end first, then start this one again.",
    )


def load_attack(run: TrainRun) -> Attack:
    """The attack of a training, ready to put its trigger on images; a learned one is read from the
    run.

    Raises WeightsError when the trigger is missing or damaged, or does not fit the images.
    """
    attack: Attack = build("attacks", run.spec.attack, run.spec.revision)
    path = run.path / TRIGGER
    # What is there although the trigger is a formula may be needed to make its training images
    # again.
    if not attack.learned and not path.exists():
        return attack
    data: DataSet = build("data", run.spec.source)
    return read_trigger(attack, path, data.facts["shape"], run.id, made_again(run))


def read_trigger(
    attack: Attack, path: Path, shape: Sequence[int], owner: str, advice: str
) -> Attack:
    """`attack` with the trigger in `path`.

    shape: (C, H, W) of the images that it goes onto.
    owner: whose trigger it is, for the message.

    Raises WeightsError when it cannot be read, holds NaN, or does not fit.
    """
    try:
        loaded = attack.with_trigger(read_tensors(path))
    except WeightsError as error:
        raise WeightsError(
            f"The trigger of {owner} cannot be read from {path.name}: {error}", advice=advice
        ) from error
    if (reason := trigger_fault(loaded, shape)) is not None:
        raise WeightsError(
            f"The trigger of {owner} in {path.name} cannot be used: {reason}.", advice=advice
        )
    return loaded


def trigger_fault(attack: Attack, shape: Sequence[int]) -> str | None:
    """Why the trigger that an attack has learned is none, a part of a sentence; None for one that
    does.

    shape: (C, H, W) of the images that it goes onto.
    """
    if names := broken(attack.trigger):
        return f"{some(names)} holds values that are not finite numbers"
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(2, *shape, generator=rng)
    try:
        made = [attack.apply(images)]
        if isinstance(attack, OwnTrainingTrigger):
            made.append(attack.apply_train(images, torch.arange(2), rng))
    except (LookupError, RuntimeError, ValueError, TypeError):
        held = ", ".join(f"{name} {tuple(value.shape)}" for name, value in attack.trigger.items())
        return f"it holds {held or 'nothing'}, which does not fit images of {tuple(shape)}"
    for changed in made:
        if changed.shape != images.shape:
            return f"it makes images of {tuple(changed.shape[1:])} out of {tuple(shape)}"
        if broken({"images": changed}):
            return "the images that carry it are not made of finite numbers"
    return None


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write named tensors as safetensors, atomically."""
    temporary = path.with_suffix(".tmp")
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary
    )
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.chmod(READABLE)  # safetensors makes it private
    os.replace(temporary, path)
