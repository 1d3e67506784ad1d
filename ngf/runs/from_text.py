"""Specifications from the words of a command line: `attack.size=4`, `steps=100`, `ngf.lr=0.01`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ngf.catalogue import catalogue, normalize
from ngf.config import Choice, Training, TrainSpec
from ngf.options import SpecError


def training_from_text(
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
    options: dict[str, dict[str, Any]] = {"attack": {}, "training": {}}
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
    attack = start.attack.name if attack is None else attack
    known_options = start.attack.options if attack == start.attack.name else {}
    return TrainSpec(
        data=start.data if data is None else data,
        model=start.model if model is None else model,
        attack=Choice(attack, {**known_options, **options["attack"]}),
        training=replace(start.training, **options["training"]),
        seed=seed,
    )


def lanes_from_text(
    defenses: Iterable[str | Choice], settings: Iterable[str]
) -> tuple[Choice, ...]:
    """Lanes from text. `steps=100` goes to every defense that has the option, `ngf.steps=100`
    to one.
    """
    known = catalogue()["defenses"]
    lanes = [
        normalize("defenses", Choice.from_json(lane) if isinstance(lane, str) else lane)
        for lane in defenses
    ]
    fields = {lane.name: [item["name"] for item in known[lane.name]["fields"]] for lane in lanes}
    options: dict[str, dict[str, Any]] = {lane.name: dict(lane.options) for lane in lanes}
    for key, value in parse_settings(settings).items():
        only, _, name = key.rpartition(".")
        takers = [lane for lane, names in fields.items() if name in names and only in ("", lane)]
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
        if not value.strip():  # else it would silently be the default
            raise SpecError(f"{key} has no value. Leave it out where the default is meant.")
        values[key] = value
    return values
