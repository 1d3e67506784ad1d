"""Measures what pages show first: the models of the recordings, before and after, and a benign one.

Ordinary measurements, computed where the recordings are, because the way of an optimizer is drawn
from weights that do not ship. They are copied to assets/measurements in the run-folder format, the
arrays in single precision. Delete a folder there to measure it again.
"""

from __future__ import annotations

import functools
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis import asking
from evidence import recordings
from evidence.computing import finished, of_zoo, purified
from evidence.zoo import attacks
from ngf.config import Choice, MeasureSpec, PurifySpec, Target, TrainSpec
from ngf.places import MEASUREMENTS
from ngf.runs.files import replacing
from ngf.runs.folder import ARRAYS, REQUEST, RESULT, SPEC
from ngf.runs.recorded import LANES, RACE, recorded

# Of every model; in the order of the page.
SHOWN = ("loss_slice", "loss_plane", "hessian_spectrum", "fisher_trace", "sharpness", "loss_line")
WALKS = ("steepest", "random")
# Of the race of the first page alone: doubts, and what takes long.
OF_THE_RACE = ("pyhessian_check", "rescaling", "input_curvature", "batch_eigenvalue")
ALONG = ("clean", asking.TRIGGERED)  # images that its way is measured on


@dataclass(frozen=True)
class Model:
    """See `asking.Model`."""

    target: str
    role: str
    kinds: tuple[str, ...]


def benign() -> TrainSpec:
    """The benign model beside all recordings."""
    return TrainSpec(attack=Choice("none"))


def models(attack: str, lane: str) -> tuple[Model, ...]:
    """Benign, backdoored and purified by `lane`, as the page names them."""
    recording, kinds = recorded(attack), asking.kinds_under(attack)
    return (
        Model(benign().id, "benign", asking.kinds_under("none")),
        Model(recording.parent, "backdoored", kinds),
        Model(str(Target(recording.id, lane)), "purified", kinds),
    )


def asked(attack: str) -> Iterator[MeasureSpec]:
    """What the page asks for of this attack's recording, with the choices that it starts with."""
    recording = recorded(attack)
    names = (*SHOWN, *OF_THE_RACE) if recording == RACE else SHOWN
    lanes = recording.lane_names()
    for lane in lanes:
        third = str(Target(recording.id, next(name for name in lanes if name != lane)))
        for name in names:
            for walk in WALKS if name == "loss_slice" else WALKS[:1]:
                found = asking.specs(
                    name,
                    models(attack, lane),
                    images="clean",
                    seed=0,
                    options=asking.options_of(name, walk=walk, plane="models", cells=21),
                    third=third,
                )
                yield from (spec for _, spec in found)
    if recording == RACE:
        targets = [str(Target(recording.id, lane)) for lane in lanes]
        yield from (asking.along(target, images) for images in ALONG for target in targets)


def first_drawing() -> MeasureSpec:
    """The trigger that the studio opens with, on the model that was trained with it."""
    attack = Choice("drawn")
    return asking.probe(TrainSpec(attack=attack).id, attack)


@functools.cache
def specs() -> dict[str, tuple[PurifySpec | None, MeasureSpec]]:
    """All of them by their names, each with the recording that it is of; the race of the first page
    first.
    """
    found: dict[str, tuple[PurifySpec | None, MeasureSpec]] = {}
    under = [attack for attack in attacks() if attack != "none"]
    for attack in sorted(under, key=lambda attack: recorded(attack) != RACE):
        for spec in asked(attack):
            found.setdefault(spec.id, (recorded(attack), spec))
    found[first_drawing().id] = None, first_drawing()
    return found


def missing() -> list[str]:
    return [name for name in specs() if not (MEASUREMENTS / name / RESULT).exists()]


def make(name: str) -> None:
    """Measure, and copy what ships of it; the result last, with it a run counts as there."""
    recording, spec = specs()[name]
    store = recordings.store()
    if recording is not None:
        purified(store, of_zoo(store, recording.parent).id, LANES)
    run = finished(store, spec)
    target = MEASUREMENTS / name
    target.mkdir(parents=True, exist_ok=True)
    for file in (SPEC, REQUEST):
        shutil.copy2(run.path / file, target / file)
    with replacing(target / ARRAYS) as out:
        out.write(shrunk((run.path / ARRAYS).read_bytes()))
    shutil.copy2(run.path / RESULT, target / RESULT)
    print(f"{name}: {spec.measurement.name} of {spec.target}", flush=True)


def shrunk(arrays: bytes) -> bytes:
    """An .npz file, compressed, its numbers in single precision: seven digits, of which a picture
    shows three.
    """
    with np.load(io.BytesIO(arrays)) as found:
        kept = {
            name: value.astype(np.float32) if value.dtype == np.float64 else value
            for name, value in found.items()
        }
    out = io.BytesIO()
    np.savez_compressed(out, **kept)
    return out.getvalue()
