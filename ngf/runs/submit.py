"""Checks what was asked for before it becomes a run, so that equal requests get equal names.

Uses the catalogue of plug-ins, which needs no torch in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ngf.catalogue import catalogue, missing_files, normalize
from ngf.config import (
    Choice,
    MeasureSpec,
    PurifySpec,
    Spec,
    SpecError,
    Training,
    TrainSpec,
    check_layer,
    spec_from_json,
)
from ngf.places import data_dir
from ngf.runs.store import Run, Store


def checked(spec: Spec, store: Store) -> Spec:
    """`spec` with every name known and every option typed, in range, and left out where it is the
    default.

    Raises SpecError with what is allowed, and KeyError when the run it starts from does not exist.
    """
    spec = spec_from_json(spec.to_json())  # checks the plain fields, such as the seed
    if isinstance(spec, TrainSpec):
        normalize("data", Choice(spec.data))
        check_files(spec.data)
        if spec.model not in (known := catalogue()["models"]):
            raise SpecError(f"Unknown model {spec.model!r}. Allowed: {', '.join(sorted(known))}.")
        return replace(spec, attack=normalize("attacks", spec.attack))
    if isinstance(spec, PurifySpec):
        parent = store.get(spec.parent)
        if parent.spec.kind != "train":
            raise SpecError(
                f"{parent.id} is not a trained model: purify takes the run of a training."
            )
        layers = catalogue()["models"].get(parent.spec.model, {}).get("layers")
        for lane in spec.lanes:
            if layers and "layer" in lane.options:
                check_layer(lane.options["layer"], layers)
        return replace(
            spec, parent=parent.id, lanes=tuple(normalize("defenses", lane) for lane in spec.lanes)
        )
    return replace(
        spec, target=_target(spec, store), measurement=normalize("measurements", spec.measurement)
    )


def check_files(data: str) -> None:
    """Raise SpecError when files of a data set are missing that nothing will download."""
    about, missing = catalogue()["data"][data], missing_files(data)
    if missing and "download_mb" not in about:
        raise SpecError(
            f"{about['title']}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            f"missing in {data_dir()}. {about['advice']}"
        )


def _target(spec: MeasureSpec, store: Store) -> str:
    run_id, _, lane = spec.target.partition(":")
    target: Run = store.get(run_id)
    if isinstance(target.spec, PurifySpec):
        names = target.spec.lane_names()
        if lane and lane not in names:
            raise SpecError(f"{run_id} has no lane {lane!r}. Allowed: {', '.join(names)}.")
        return f"{run_id}:{lane or names[0]}"
    if not isinstance(target.spec, TrainSpec) or lane:
        raise SpecError(
            f"{spec.target} has no weights: measure takes a training, or id:lane of a purification."
        )
    return run_id


def training_request(
    data: str | None,
    model: str | None,
    attack: str | None,
    seed: int,
    settings: Iterable[str],
    start: TrainSpec | None = None,
) -> TrainSpec:
    """A TrainSpec from text: `settings` are `attack.size=4` and `training.epochs=2`. None: as in
    `start`.

    Another attack than that of `start` has none of its options.
    """
    options: dict[str, dict[str, str]] = {"attack": {}, "training": {}}
    for key, value in parse_settings(settings).items():
        part, _, name = key.partition(".")
        if part not in options or not name:
            raise SpecError(f"{key} cannot be set. Allowed: attack.<option>, training.<option>.")
        options[part][name] = value
    known = Training.__dataclass_fields__
    unknown = sorted(set(options["training"]) - set(known))
    if unknown:
        raise SpecError(
            f"training has no option {', '.join(unknown)}. Allowed: {', '.join(known)}."
        )
    start = start or TrainSpec()
    known_options = start.attack.options if attack in (None, start.attack.name) else {}
    return TrainSpec(
        data=data or start.data,
        model=model or start.model,
        attack=Choice(attack or start.attack.name, {**known_options, **options["attack"]}),
        training=replace(start.training, **options["training"]),
        seed=seed,
    )  # type: ignore[arg-type]


def lanes_request(defenses: Iterable[str | Choice], settings: Iterable[str]) -> tuple[Choice, ...]:
    """Lanes from text. `steps=100` goes to every defense that has the option, `ngf.steps=100`
    to one.
    """
    known = catalogue()["defenses"]
    lanes = [
        normalize("defenses", Choice.from_json(lane) if isinstance(lane, str) else lane)
        for lane in defenses
    ]
    defenses = [lane.name for lane in lanes]
    fields = {name: [item["name"] for item in known[name]["fields"]] for name in defenses}
    options: dict[str, dict[str, Any]] = {lane.name: dict(lane.options) for lane in lanes}
    for key, value in parse_settings(settings).items():
        only, _, name = key.rpartition(".")
        takers = [lane for lane in defenses if name in fields[lane] and only in ("", lane)]
        if not takers:
            allowed = "; ".join(
                f"{lane}: {', '.join(names) or 'none'}" for lane, names in fields.items()
            )
            raise SpecError(f"{key} cannot be set. Allowed: {allowed}.")
        for lane in takers:
            options[lane][name] = value
    return tuple(Choice(lane.name, options[lane.name]) for lane in lanes)


def parse_settings(settings: Iterable[str]) -> Mapping[str, str]:
    """`["a=1", "b.c=x"]` as a mapping; raises SpecError for anything that is not `name=value`."""
    values: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise SpecError(
                f"{setting!r} is not a setting. Write it as name=value, as in attack.size=4."
            )
        values[key] = value
    return values
