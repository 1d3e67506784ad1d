"""A run folder made of a model that somebody brings: like a training that is done, so that all else
takes it for one. Nothing is ever half imported: both folders appear whole, the run last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ngf.catalogue import build
from ngf.checkpoints.weights import save_tensors, save_weights
from ngf.config import Choice, Training, TrainSpec
from ngf.data import load
from ngf.data.mine import FACTS, IMAGES, TRIGGERED
from ngf.environment import environment
from ngf.evaluate import test_set
from ngf.imports.classes import Assignment, named
from ngf.imports.pictures import Pictures
from ngf.imports.preprocessing import OWN, Preprocessing, model_of
from ngf.models import tunable_layers
from ngf.models.of_others.recognize import Fit, Shape
from ngf.outside.checkpoint import Opened
from ngf.outside.listing import shown
from ngf.places import imports_dir
from ngf.runs.files import to_json, write_atomic
from ngf.runs.folder import EXTRA, FORM, REQUEST, RESULT, SPEC, WEIGHTS
from ngf.runs.store import Run, Store

LEAST_MEASURED = 5  # images
_NO_TRIGGER = "No trigger is known, so there is no attack success rate."
_GIVEN = "Share of the triggered images that came along that are called the attacker's class."
_TRAINING = Training(min_ca=0.0, min_asr=0.0)  # nothing is promised of it


@dataclass(frozen=True)
class Brought:
    """What is known of a model by now, all of it settled.

    numbers: the output of the model for each image, int64 (N,).
    share: of the images that are kept to measure on.
    mirror: whether an image still belongs to its class when it is mirrored.
    said: what else a reader of the import wants to know, plain JSON.
    poisoned: images with the trigger, their true classes and the attacker's, where some came along.
    """

    file: str
    opened: Opened
    fit: Fit
    shape: Shape
    how: Preprocessing
    pictures: Pictures
    assignment: Assignment | None
    numbers: Tensor
    share: float
    mirror: bool
    said: Mapping[str, Any]
    poisoned: tuple[Pictures, Tensor, Tensor] | None = None


def make(store: Store, brought: Brought, owner: str = "") -> Run:
    """The run of an import, made where there is none yet. An owner's imports are theirs alone, so
    two owners of one file have two. Raises OSError.
    """
    started = time.monotonic()
    tensors = _images(brought)
    facts = _facts(brought, tensors)
    content = _digest(owner.encode(), to_json(facts).encode(), *_raw(tensors))
    spec = TrainSpec(
        data="mine",
        model=brought.fit.name,
        attack=Choice("none"),
        training=_TRAINING,
        content=content,
        imported=_digest(brought.opened.sha256.encode(), to_json(brought.how.to_json()).encode()),
    )
    if (found := store.find(spec.id)) is not None and found.status == "done":
        return found
    facts["fingerprint"] = content
    _put(imports_dir() / content, lambda folder: _write_images(folder, tensors, facts))
    model = model_of(brought.fit, brought.shape, brought.how, brought.opened.tensors)
    rates = test_set(load(spec.source), build("attacks", spec.attack)).evaluate(model)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime())
    result = {
        **rates.to_json(),
        "asr_definition": _GIVEN if brought.poisoned else _NO_TRIGGER,
        "seconds": round(time.monotonic() - started, 1),
        "facts": facts,
        "imported": _about(brought, tunable_layers(model)),
        "environment": environment(),
    }

    def write(folder: Path) -> None:
        write_atomic(folder / SPEC, to_json(dict(sorted(spec.to_json().items()))))
        write_atomic(
            folder / REQUEST,
            to_json({"owner": owner, "sweep": "", "submitted_at": now, "queued_at": now}),
        )
        write_atomic(folder / FORM, to_json(_form(brought)))
        if brought.fit.extra:
            extra = {name: brought.opened.tensors[name] for name in brought.fit.extra}
            save_tensors(extra, folder / EXTRA)
        save_weights(model, folder / WEIGHTS)
        write_atomic(folder / RESULT, to_json(result))

    store.root.mkdir(parents=True, exist_ok=True)
    _put(store.root / spec.id, write)
    store.wake()
    return store.get(spec.id)


def _put(place: Path, write: Any) -> None:
    """A folder that is there whole or not at all; one that is there already is the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
    try:
        write(temporary)
        temporary.chmod(0o755)
        if not place.exists():
            os.rename(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _images(brought: Brought) -> dict[str, Tensor]:
    """Images as the model wants them, divided: `holdout.images`, `test.labels` and so on."""
    how = brought.how
    images = brought.pictures.decoded(how.side, how.fit, brought.shape.in_channels)
    found = {}
    for pool, rows in zip(
        ("holdout", "test"), divided(brought.numbers, brought.share), strict=True
    ):
        found[f"{pool}.images"] = images[rows].contiguous()
        found[f"{pool}.labels"] = brought.numbers[rows].contiguous()
    if brought.poisoned is not None:
        pictures, labels, wanted = brought.poisoned
        given = pictures.decoded(how.side, how.fit, brought.shape.in_channels), labels, wanted
        found |= {f"triggered.{name}": value for name, value in zip(TRIGGERED, given, strict=True)}
    return found


def divided(numbers: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Places of the images for the defender, and of those to measure on: of each class the share,
    in an order of its own that is always the same.
    """
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(len(numbers), generator=rng)
    ranks = torch.zeros(len(numbers))
    for number in numbers.unique().tolist():
        rows = order[numbers[order] == number]
        ranks[rows] = (torch.arange(len(rows)) + 0.5) / len(rows)
    # the places of all classes between 0 and 1: the last ones are measured on
    by_rank = ranks.argsort(stable=True)
    count = max(LEAST_MEASURED, round(share * len(numbers)))
    return by_rank[:-count].sort().values, by_rank[-count:].sort().values


def _facts(brought: Brought, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Of the images as a data set, see `ngf.data.base`."""
    how, outputs = brought.how, brought.shape.num_classes
    labels, assigned = brought.pictures.labels, brought.assignment
    classes = named(labels, assigned.outputs, outputs) if assigned else named([], (), outputs)
    own = (
        {}
        if how.normalization == OWN
        else {"normalized": {"mean": list(how.mean), "std": list(how.std), "order": how.order}}
    )
    return {
        "classes": classes,
        "shape": list(tensors["test.images"].shape[1:]),
        "pools": {
            "train": 0,
            **{pool: len(tensors[f"{pool}.labels"]) for pool in ("holdout", "test")},
        },
        "validation": 0,
        **({"triggered": len(brought.poisoned[1])} if brought.poisoned else {}),
        "survives_flip": [brought.mirror] * outputs,
        **own,
    }


def _write_images(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    save_tensors(tensors, folder / IMAGES)
    (folder / FACTS).write_text(to_json(facts), encoding="utf-8")


def _about(brought: Brought, layers: Iterable[str]) -> dict[str, Any]:
    """What people want to know of an import, in its result."""
    return {
        "file": shown(brought.file),
        "sha256": brought.opened.sha256,
        "notes": list(brought.opened.notes),
        "network": brought.fit.title,
        "unused": [shown(name) for name in brought.fit.extra[:20]],
        "layers": list(layers),
        "preprocessing": brought.how.to_json(),
        "images": len(brought.pictures),
        "labeled": brought.pictures.labeled,
        **brought.said,
    }


def _form(brought: Brought) -> dict[str, Any]:
    """How to write weights back in the form in which they came."""
    return {
        "form": brought.opened.form.to_json(),
        "names": list(brought.opened.tensors),
        "own": brought.how.normalization == OWN,
    }


def _raw(tensors: Mapping[str, Tensor]) -> Sequence[bytes]:
    return [value.numpy().tobytes() for value in tensors.values()]


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
