"""Weights on disk: safetensors only, checked against the model before a single value is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ngf import models
from ngf.attacks.base import Attack
from ngf.catalogue import build
from ngf.config import Choice, Target, TrainSpec
from ngf.data.base import DataSet
from ngf.options import Explained, SpecError
from ngf.runs.files import READABLE
from ngf.runs.folder import TRIGGER, WEIGHTS, purified_weights
from ngf.runs.store import PurifyRun, Run, Store, TrainRun, parent_id


class WeightsError(Explained, ValueError):
    """A checkpoint that cannot be used; the message gives the reason."""

    kind = "bad_checkpoint"
    advice = "Choose the architecture that the file was saved from, or save the file again."


def save_weights(model: nn.Module, path: Path) -> None:
    """Write parameters and buffers atomically."""
    save_tensors(model.state_dict(), path)


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Fill `model` from a safetensors file and return it in eval mode.

    Raises WeightsError when the file is missing, cut short, of another architecture, or holds NaN.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name} cannot be read as safetensors: {error}") from error
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise WeightsError(
            f"{path.name} does not fit the model: it lacks {_some(missing)} and has "
            f"{_some(extra)} too many."
        )
    for name, value in found.items():
        if value.shape != wanted[name].shape or value.dtype != wanted[name].dtype:
            raise WeightsError(
                f"{path.name}: {name} is {value.dtype} {tuple(value.shape)}, the model needs "
                f"{wanted[name].dtype} {tuple(wanted[name].shape)}."
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{path.name}: {name} holds values that are not finite numbers.")
    model.load_state_dict(found)
    return model.eval()


def _some(names: list[str]) -> str:
    return (
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        if names
        else "nothing"
    )


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
        run = store.get(parent_id(run.spec) or "(deleted)")
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
        path = run.path / purified_weights(lane)
    elif lane:
        raise SpecError(f"{run.id} is a {run.kind} run; only a purification has lanes.")
    else:
        path = run.path / WEIGHTS
    if not path.exists():
        raise WeightsError(f"{run.id} has no weights yet ({run.status}).")
    data: DataSet = build("data", Choice(spec.data))
    facts, then = data.facts, (origin.result or {}).get("facts", {}).get("fingerprint")
    if then and then != facts.get("fingerprint"):
        raise WeightsError(
            f"The images of {spec.data} are not those that {origin.id} was trained on: files were "
            "added, changed or taken away. Put them back, or delete this run and train again."
        )
    model = models.for_data(spec.model, facts)
    return Loaded(load_weights(model, path).to(device), spec, run, lane)


def load_attack(run: TrainRun) -> Attack:
    """The attack of a training, ready to put its trigger on images; a learned one is read from the
    run.

    Raises WeightsError when the trigger is missing or damaged.
    """
    attack: Attack = build("attacks", run.spec.attack)
    path = run.path / TRIGGER
    # What is there although the trigger is a formula may be needed to make its training images
    # again.
    if not attack.learned and not path.exists():
        return attack
    try:
        return attack.with_trigger(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"The trigger of {run.id} cannot be read from {path.name}: {error}"
        ) from error


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
