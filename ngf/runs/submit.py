"""The one door through which a run comes into being: page, route and command line submit here.

What is a legal run is decided in `checked`, by the catalogue of plug-ins, which needs no torch in
this process. Equal requests get equal names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import overload

from ngf.attacks.early import check_early
from ngf.catalogue import catalogue, missing_files, normalize
from ngf.config import (
    REVISION,
    Choice,
    Fork,
    MeasureSpec,
    PurifySpec,
    Spec,
    Target,
    TrainSpec,
    check_revision,
    num_validation,
    spec_from_json,
)
from ngf.options import SpecError, check_layer
from ngf.places import data_dir
from ngf.runs.content import check_content, filled
from ngf.runs.folder import steps_at, waypoints
from ngf.runs.store import NoSuchRun, PurifyRun, Run, Store, TrainRun

# Says what speaks against a measurement. By name, because ngf does not import analysis.
_MEASUREMENTS = "analysis.early"
_IMPORTED = "mine"  # the data set of images that came with imported models
REFUSALS = (SpecError, NoSuchRun, OSError)  # what `submit` raises; each says what to do


def submit(spec: Spec, store: Store, owner: str = "") -> Run:
    """The run of `spec`, checked, made and queued when there is none yet (see `Store.submit`). One
    of an earlier revision can only be there already.

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
    if not isinstance(spec, MeasureSpec) and spec.revision != REVISION:
        if (run := store.find(spec.id)) is None or run.status != "done":
            check_revision(spec)
        return spec  # its defaults were others: left as it is, it keeps its name
    if isinstance(spec, TrainSpec):
        return _training(spec, store)
    if isinstance(spec, PurifySpec):
        return _purification(spec, store)
    return _measurement(spec, store)


def _training(spec: TrainSpec, store: Store) -> TrainSpec:
    if spec.imported or spec.data == _IMPORTED:
        if store.find(spec.id) is None:
            raise SpecError(
                "A model that was not trained here cannot be trained again: bring its file, by "
                "`ngf import` or on the page My model."
            )
        return spec
    normalize("data", Choice(spec.data))
    check_files(spec.data)
    if spec.model not in (known := catalogue()["models"]):
        raise SpecError(f"Unknown model {spec.model!r}. Allowed: {', '.join(sorted(known))}.")
    _check_number(spec.data, "train", spec.training.num_images)
    check_content(spec)
    attack = normalize("attacks", spec.attack)
    check_early(attack, catalogue()["data"][spec.data])
    _check_layers("attacks", attack, known[spec.model]["layers"])
    return filled(replace(spec, attack=attack))


def _purification(spec: PurifySpec, store: Store) -> PurifySpec:
    parent = store.get(spec.parent)
    if not isinstance(parent, TrainRun):
        raise SpecError(f"{parent.id} is not a trained model: purify takes the run of a training.")
    check_content(parent.spec)
    found = replace(purification_of(parent.spec, spec), parent=parent.id)
    return found if store.find(found.id) else replace(found, start=_start(found, store))


def _start(spec: PurifySpec, store: Store) -> str:
    """Where a fork starts, in full. Raises SpecError with the nearest step that can be forked."""
    if (fork := spec.fork()) is None:
        return ""
    source = store.get(fork.run)
    if not isinstance(source, PurifyRun) or source.spec.parent != spec.parent:
        raise SpecError(f"{source.id} is no purification of {spec.parent}, so it cannot be forked.")
    lane = source.spec.lane_name(fork.lane)
    kept = steps_at(source.path / waypoints(lane))
    if not kept:
        raise SpecError(
            f"{source.id}:{lane} has kept no weights on its way, so it cannot be forked. Runs that "
            "ship keep the last ones only: start a race of your own."
        )
    if fork.step not in kept:
        nearest = min(kept, key=lambda step: abs(step - fork.step))
        raise SpecError(
            f"{source.id}:{lane} kept no weights at step {fork.step}. The nearest step that can be "
            f"forked is {nearest}: {Fork(source.id, lane, nearest)}. "
            f"Allowed: {', '.join(map(str, kept))}."
        )
    return str(Fork(source.id, lane, fork.step))


def purification_of(training: TrainSpec, spec: PurifySpec) -> PurifySpec:
    """`spec` checked against the training that it starts from, which need not have happened. Raises
    SpecError.
    """
    lanes = tuple(normalize("defenses", lane) for lane in spec.lanes)
    layers = catalogue()["models"].get(training.model, {}).get("layers")
    if layers:
        for lane in lanes:
            _check_layers("defenses", lane, layers)
    _check_number(training.data, "holdout", spec.num_clean)
    return replace(spec, lanes=lanes)


def _check_layers(kind: str, choice: Choice, layers: Iterable[str]) -> None:
    """Raise SpecError for an option that names a layer which the model does not have."""
    for item in catalogue()[kind][choice.name]["fields"]:
        if item.get("layers") and item["name"] in choice.options:
            check_layer(choice.options[item["name"]], item["layers"], layers)


def _measurement(spec: MeasureSpec, store: Store) -> MeasureSpec:
    target, measurement = _target(spec, store), normalize("measurements", spec.measurement)
    found = replace(spec, target=str(target), measurement=measurement)
    known = store.find(found.id)
    if known is None or known.status != "done":  # what ships may need what does not
        import_module(_MEASUREMENTS).check_early(measurement, store.get(target.run), store)
    return found


def _target(spec: MeasureSpec, store: Store) -> Target:
    named = Target.parse(spec.target)
    run = store.get(named.run)
    if (trained := run.training()) is not None:
        check_content(trained.spec)
    if isinstance(run, PurifyRun):
        if not named.lane and len(run.spec.lanes) > 1:
            names = ", ".join(f"{run.id}:{lane}" for lane in run.spec.lane_names())
            raise SpecError(f"{run.id} is a race. Name one of its models: {names}.")
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


def _check_number(data: str, pool: str, wanted: int) -> None:
    """Raise SpecError when more images are wanted than a data set has for it; some data sets know
    that only from their files.
    """
    about = catalogue()["data"].get(data, {})
    size = about.get("pools", {}).get(pool)
    if size is None:
        return
    what = "training images"
    if pool == "holdout":
        size, what = size - num_validation(size), "clean images for a defender"
    if wanted > size:
        raise SpecError(
            f"{about['title']} has {size:,} {what}, not {wanted:,}. Ask for {size:,} or fewer."
        )


def check_files(data: str) -> None:
    """Raise SpecError when files of a data set are missing that nothing will download."""
    about, missing = catalogue()["data"][data], missing_files(data)
    if missing and "download_mb" not in about:
        raise SpecError(
            f"{about['title']}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            f"missing in {data_dir()}. {about['advice']}"
        )
