"""The one door through which a run comes into being: page, route and command line submit here.

What is a legal run is decided in `checked`, by the catalogue of plug-ins, which needs no torch in
this process. Equal requests get equal names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import overload

from ngf.catalogue import catalogue, missing_files, normalize
from ngf.config import Choice, MeasureSpec, PurifySpec, Spec, Target, TrainSpec, spec_from_json
from ngf.options import SpecError, check_layer
from ngf.places import data_dir
from ngf.runs.store import NoSuchRun, PurifyRun, Run, Store, TrainRun

REFUSALS = (SpecError, NoSuchRun, OSError)  # what `submit` raises; each says what to do


def submit(spec: Spec, store: Store, owner: str = "") -> Run:
    """The run of `spec`, checked, made and queued when there is none yet (see `Store.submit`).

    Raises SpecError with what is allowed, `NoSuchRun` when the run that it starts from does not
    exist, and `DiskFull` when there is no space.
    """
    return store.submit(checked(spec, store), owner)


@overload
def checked(spec: TrainSpec, store: Store) -> TrainSpec: ...
@overload
def checked(spec: PurifySpec, store: Store) -> PurifySpec: ...
@overload
def checked(spec: Spec, store: Store) -> Spec: ...
def checked(spec: Spec, store: Store) -> Spec:
    """`spec` with every name known and every option typed, in range, and left out where it is the
    default. Raises SpecError and `NoSuchRun`.
    """
    spec = spec_from_json(spec.to_json())  # checks the plain fields, such as the seed
    if isinstance(spec, TrainSpec):
        return _training(spec)
    if isinstance(spec, PurifySpec):
        return _purification(spec, store)
    return _measurement(spec, store)


def _training(spec: TrainSpec) -> TrainSpec:
    normalize("data", Choice(spec.data))
    check_files(spec.data)
    if spec.model not in (known := catalogue()["models"]):
        raise SpecError(f"Unknown model {spec.model!r}. Allowed: {', '.join(sorted(known))}.")
    return replace(spec, attack=normalize("attacks", spec.attack))


def _purification(spec: PurifySpec, store: Store) -> PurifySpec:
    parent = store.get(spec.parent)
    if not isinstance(parent, TrainRun):
        raise SpecError(f"{parent.id} is not a trained model: purify takes the run of a training.")
    lanes = tuple(normalize("defenses", lane) for lane in spec.lanes)
    layers = catalogue()["models"].get(parent.spec.model, {}).get("layers")
    if layers:
        for lane in lanes:
            _check_layers(lane, layers)
    return replace(spec, parent=parent.id, lanes=lanes)


def _check_layers(lane: Choice, layers: Iterable[str]) -> None:
    """Raise SpecError for an option that names a layer which the model does not have."""
    for item in catalogue()["defenses"][lane.name]["fields"]:
        if item.get("layers") and item["name"] in lane.options:
            check_layer(lane.options[item["name"]], item["layers"], layers)


def _measurement(spec: MeasureSpec, store: Store) -> MeasureSpec:
    target, measurement = _target(spec, store), normalize("measurements", spec.measurement)
    return replace(spec, target=str(target), measurement=measurement)


def _target(spec: MeasureSpec, store: Store) -> Target:
    named = Target.parse(spec.target)
    run = store.get(named.run)
    if isinstance(run, PurifyRun):
        lane = run.spec.lane_name(named.lane)
        if (step := run.diverged().get(lane)) is not None:
            raise SpecError(
                f"{run.id}:{lane} diverged at step {step}, so there is no model to measure. "
                f"Allowed: {', '.join(f'{run.id}:{name}' for name in run.sound_lanes())}."
            )
        return Target(named.run, lane)
    if not isinstance(run, TrainRun) or named.lane:
        raise SpecError(
            f"{spec.target} has no weights: measure takes a training, or id:lane of a purification."
        )
    return named


def check_files(data: str) -> None:
    """Raise SpecError when files of a data set are missing that nothing will download."""
    about, missing = catalogue()["data"][data], missing_files(data)
    if missing and "download_mb" not in about:
        raise SpecError(
            f"{about['title']}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            f"missing in {data_dir()}. {about['advice']}"
        )
