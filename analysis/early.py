"""What a measurement's options alone, and the run it is asked of, say against it, before anything
starts. No torch: the door for runs asks here, in the web server, too.

What it takes a model to know is said when the measurement starts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from analysis.image_kinds import KINDS, check_kind, kinds_of
from analysis.reactivation_words import brought, missing, possible
from ngf.attacks.early import check_early as check_attack
from ngf.catalogue import catalogue, normalize, options_of
from ngf.config import Choice, Target
from ngf.options import SpecError
from ngf.runs.store import PurifyRun, Run, Store, TrainRun

_Options = Mapping[str, Any]


def check_early(measurement: Choice, run: Run, store: Store) -> None:
    """Raise SpecError (`NoSuchRun` for a further model) for a measurement that cannot be made of
    `run`.
    """
    about = catalogue()["measurements"][measurement.name]
    options = options_of("measurements", measurement)
    training = run.training()
    if training is not None:
        _check_data(options, training)
        modules = catalogue()["models"].get(training.spec.model, {}).get("modules")
        if modules:
            check_layers(options.get("layers", ""), modules)
    _check_models(about, options, run, store)
    if about["needs"]["poisoned"] and training is not None and not possible(training):
        raise SpecError(missing(brought(training) if training.spec.imported else None))
    if measurement.name in _CHECKS:
        data = catalogue()["data"].get(training.spec.data, {}) if training else {}
        _CHECKS[measurement.name](options, data)


def _check_data(options: _Options, training: TrainRun) -> None:
    attack = training.spec.attack
    known = catalogue()["attacks"].get(attack.name)
    if known is not None and options.get("data") in KINDS:
        attacked = bool(options_of("attacks", attack).get("poison_rate"))
        check_kind(options["data"], attacked=attacked, in_loop=known["controlled"])


def check_layers(text: str, modules: list[str]) -> None:
    """Raise SpecError unless `text` names layers, separated by commas; empty for all.

    modules: all modules with parameters; a layer is one of them, or one that holds some.
    """
    if not text:
        return
    wanted = [layer.strip() for layer in text.split(",")]
    if not all(wanted):
        raise SpecError(
            f"layers = {text!r} has an empty name. Write names separated by commas, or leave it "
            f"out for all. Allowed: {', '.join(modules)}."
        )
    unknown = [
        layer for layer in wanted if not any(f"{name}.".startswith(f"{layer}.") for name in modules)
    ]
    if unknown:
        raise SpecError(f"Unknown layer {', '.join(unknown)}. Allowed: {', '.join(modules)}.")


def _check_models(about: Mapping[str, Any], options: _Options, run: Run, store: Store) -> None:
    """The models that it takes beside the measured one."""
    needs = about["needs"]
    for option, found in about["needs_with"].items():
        needs = found.get(options[option], needs)
    named = [name.strip() for name in str(options.get(needs["others"]) or "").split(",")]
    named = [name for name in named if name]
    for name in named:
        target = Target.parse(name)
        other = store.get(target.run)
        if isinstance(other, PurifyRun):
            other.spec.lane_name(target.lane)
        elif not isinstance(other, TrainRun) or target.lane:
            raise SpecError(f"{name} has no weights: name a training, or id:lane.")
    pair = isinstance(run, PurifyRun)
    if needs["others"] and len(named) != 2 and not (pair and len(named) == 1):
        raise SpecError(
            "A plane through models needs three: choose a purified model (its backdoored parent is "
            f"one), and name another purified model as `{needs['others']}`."
        )
    if needs["poisoned"] and not pair:
        raise SpecError(
            f"{about['short']} is of a purified model, and tunes it on the clean images of its "
            "defender. Choose one (run:lane)."
        )
    if needs["models"] == "pair" and not needs["others"] and not pair:
        raise SpecError(
            f"{about['short']} needs two models. Choose a purified model (run:lane); its "
            "backdoored parent is the other."
        )
    if needs["path"] == "needed" and run.source != "user":
        raise SpecError(
            f"{run.id} kept no weights on its way: runs that ship keep the last ones "
            "only. Start a run of your own in the Lab."
        )


def _check_probe(options: _Options, data: Mapping[str, Any]) -> None:
    """The images of a probe, and its attack, which is written as JSON.

    data: facts of the images.
    """
    clean = kinds_of(attacked=False, in_loop=False)
    if options["data"] not in clean:
        raise SpecError(
            f"data = {options['data']} has a trigger already, and a probe puts its own on clean "
            f"images. Allowed: {', '.join(clean)}."
        )
    try:
        found = json.loads(options["attack"])
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f'attack is not JSON ({error}). It looks like {{"name": "badnets", "size": 3}}.'
        ) from None
    attack = normalize("attacks", Choice.from_json(found))
    known = catalogue()["attacks"][attack.name]
    if known["learned"] or not options_of("attacks", attack).get("poison_rate"):
        raise SpecError(
            f"{attack.name} has no trigger before a training. A probe takes an attack whose "
            "trigger is a formula, such as badnets, blend or drawn."
        )
    check_attack(attack, data)


def _check_checkup(options: _Options, data: Mapping[str, Any]) -> None:
    """The images of a checkup. data: facts of the images."""
    _check_clean(options, "checkup")


def _check_yardstick(options: _Options, data: Mapping[str, Any]) -> None:
    """The images of a yardstick. data: facts of the images."""
    _check_clean(options, "yardstick")


def _check_clean(options: _Options, called: str) -> None:
    clean = kinds_of(attacked=False, in_loop=False)
    if options["data"] not in clean:
        raise SpecError(
            f"data = {options['data']} has a trigger, and a {called} knows of none. "
            f"Allowed: {', '.join(clean)}."
        )


_CHECKS: dict[str, Callable[[_Options, Mapping[str, Any]], None]] = {
    "trigger_probe": _check_probe,
    "checkup": _check_checkup,
    "yardstick": _check_yardstick,
}
