"""The command line that asks for a run: the same settings, so the same name. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ngf.config import REVISION, Choice, MeasureSpec, PurifySpec, Spec, TrainSpec
from ngf.runs.files import to_json
from ngf.runs.folder import SPEC
from ngf.runs.store import Run

EARLIER = "asked of an earlier version; no command of this one gives the same numbers"


def command(spec: Spec) -> str:
    """What a person types to get the run of `spec`; "" where this version cannot (see `EARLIER`).

    The run that it starts from has to be there: `commands` has those before it as well.
    """
    if isinstance(spec, MeasureSpec):
        words = ["analysis", spec.target, spec.measurement.name]
        return _join(words, spec.seed, _settings("", spec.measurement.options))
    if spec.revision != REVISION:
        return ""
    return _train(spec) if isinstance(spec, TrainSpec) else _purify(spec)


def commands(run: Run) -> list[str]:
    """The commands from the first model that does not ship to `run`, in order; empty where one of
    them is missing.
    """
    found: list[str] = []
    step: Run | None = run
    while step is not None and (step is run or step.source == "user"):
        said = _import(step) if is_import(step) else command(step.spec)
        if not said:
            return []
        found.insert(0, said)
        step = step.ancestor()
    return found


def is_import(run: Run) -> bool:
    return isinstance(run.spec, TrainSpec) and bool(run.spec.imported)


def _import(run: Run) -> str:
    """With what was found out, so that nothing is asked. Whoever repeats it has the files."""
    spec, result = run.spec, run.result or {}
    assert isinstance(spec, TrainSpec)
    about = result.get("imported") or {}
    if not about.get("preprocessing"):
        return _train(spec)
    how, facts = about["preprocessing"], result["facts"]
    words = ["ngf", "import", about["file"], "--images", "IMAGES"]
    words += ["--poisoned", "NPZ"] if result.get("n_triggered") else []
    words += ["--model", spec.model, "--size", str(how["side"]), "--resize", how["fit"]]
    words += _normalize(how)
    pools = facts["pools"]
    words += ["--measure", f"{pools['test'] / (pools['test'] + pools['holdout']):.4g}"]
    words += ["--mirror"] if all(facts["survives_flip"]) else []
    return shlex.join(["python", "-m", *words, "--accept"])


def _normalize(how: Mapping[str, Any]) -> list[str]:
    if not how["mean"]:
        return []  # the network does it by itself
    if how["normalization"] != "own numbers":
        return ["--normalize", how["normalization"]]
    numbers = (",".join(f"{value:g}" for value in how[name]) for name in ("mean", "std"))
    return ["--normalize", "/".join(numbers)]


def _train(spec: TrainSpec) -> str:
    if spec.imported:  # whoever repeats it has the file and the images
        return f"python -m ngf import FILE --images IMAGES --model {spec.model} --accept"
    words = ["ngf", "train", "--data", spec.data, "--model", spec.model]
    words += ["--attack", spec.attack.name]
    settings = [
        *_settings("attack.", spec.attack.options),
        *_settings("training.", spec.training.to_json()),
    ]
    return _join(words, spec.seed, settings)


def _purify(spec: PurifySpec) -> str:
    by_name: dict[str, Choice] = {}
    for lane in spec.lanes:
        if by_name.setdefault(lane.name, lane) != lane:
            return _from_file(spec)  # words set the options of a defense, not of one of its lanes
    words = ["ngf", "purify", spec.parent]
    for lane in spec.lanes:
        words += ["--defense", lane.name]
    words += ["--num-clean", str(spec.num_clean), "--choosing", spec.choosing]
    if spec.start:
        words += ["--start", spec.start]
    settings = [
        setting for lane in by_name.values() for setting in _settings(f"{lane.name}.", lane.options)
    ]
    return _join(words, spec.seed, settings)


def _from_file(spec: Spec) -> str:
    """The same by way of a run folder, for what no other command can say."""
    folder = f"runs/{spec.id}"
    text = shlex.quote(to_json(dict(sorted(spec.to_json().items()))))
    return f"mkdir -p {folder} && printf %s {text} > {folder}/{SPEC} && python -m ngf run {folder}"


def _settings(prefix: str, options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sorted(options.items()):
        yield f"{prefix}{name}={value}"


def _join(words: list[str], seed: int, settings: Iterator[str] | list[str]) -> str:
    given = list(settings)
    more = ["--set", *given] if given else []
    return shlex.join(["python", "-m", *words, "--seed", str(seed), *more])
