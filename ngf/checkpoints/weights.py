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
from ngf.catalogue import build
from ngf.config import Choice, PurifySpec, SpecError, TrainSpec
from ngf.runs.store import Run, Store

TRIGGER = "trigger.safetensors"  # what an attack has learned, in the folder of a training


class WeightsError(ValueError):
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


def train_run(store: Store, run_id: str) -> Run:
    """The training that run `run_id` goes back to. Raises KeyError when one on the way was
    deleted.
    """
    run = store.get(run_id)
    while not isinstance(run.spec, TrainSpec):
        run = store.get(
            run.ancestor().id if run.ancestor() else getattr(run.spec, "parent", "(deleted)")
        )
    return run


def load_model(store: Store, target: str, device: torch.device | str = "cpu") -> Loaded:
    """The model of `id` (a training) or `id:lane` (a purification; the first lane when none
    is named).
    """
    run_id, _, lane = target.partition(":")
    run, origin = store.get(run_id), train_run(store, run_id)
    spec = origin.spec
    if isinstance(run.spec, PurifySpec):
        lanes = run.spec.lane_names()
        lane = lane or lanes[0]
        if lane not in lanes:
            raise SpecError(f"{run_id} has no lane {lane!r}. Allowed: {', '.join(lanes)}.")
        path = run.path / f"purified.{lane}.safetensors"
    elif lane:
        raise SpecError(f"{run_id} is a {run.spec.kind} run; only a purification has lanes.")
    else:
        path = run.path / "model.safetensors"
    if not path.exists():
        raise WeightsError(f"{run_id} has no weights yet ({run.status}).")
    facts = build("data", Choice(spec.data)).facts
    if (then := (origin.result or {}).get("facts", {}).get("fingerprint")) and then != facts.get(
        "fingerprint"
    ):
        raise WeightsError(
            f"The images of {spec.data} are not those that {origin.id} was trained on: files were "
            "added, changed or taken away. Put them back, or delete this run and train again."
        )
    model = models.build(spec.model, len(facts["classes"]), *facts["shape"][:2])
    return Loaded(load_weights(model, path).to(device), spec, run, lane)


def load_attack(run: Run):
    """The attack of a training run, ready to put its trigger on images; a learned one is read from
    the run.

    Raises WeightsError when the trigger is missing or damaged.
    """
    attack = build("attacks", run.spec.attack)
    path = run.path / TRIGGER
    if (
        not attack.learned and not path.exists()
    ):  # what is there may be needed to make its training images again
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
    os.replace(temporary, path)
