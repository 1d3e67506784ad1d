"""Looks up runs in the store and describes them in words for readers. No torch."""

from __future__ import annotations

import functools
import operator
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dashboard.charts.style import percent
from dashboard.charts.titles import lane_title, short, title
from dashboard.kit import damage, readings
from dashboard.kit.stores import whole
from dashboard.kit.visitor import visitor
from ngf import places
from ngf.catalogue import catalogue
from ngf.config import REVISION, MeasureSpec, PurifySpec, TrainSpec
from ngf.options import SpecError
from ngf.runs.folder import RESULT, SPEC
from ngf.runs.private import Seen
from ngf.runs.recorded import RACE
from ngf.runs.store import MeasureRun, PurifyRun, Run, Store, TrainRun, open_run

ModelRun = TrainRun | PurifyRun  # a run that makes models, unlike a measurement
ModelSpec = TrainSpec | PurifySpec
_AnyRun = TypeVar("_AnyRun", bound=Run)

ICONS = {
    "queued": "schedule",
    "running": "play_circle",
    "paused": "pause_circle",
    "done": "check_circle",
    "cancelled": "stop_circle",
    "failed": "error",
    "lost": "help",
}
STATES = {
    "queued": "Waiting",
    "running": "Running",
    "paused": "Paused",
    "done": "Finished",
    "cancelled": "Stopped",
    "failed": "Failed",
    "lost": "Interrupted",
}
KINDS = {"train": "training", "purify": "purification", "measure": "measurement"}


def store() -> Store:
    """The store of this server, as the visitor of this page may see it."""
    return Seen(whole(), visitor)


def find(run_id: str) -> Run | None:
    """The run with this id, or None when the store has none."""
    return store().find(run_id) if run_id else None


def find_training(run_id: str) -> TrainRun | None:
    """The training with this id, or None when the store has none."""
    run = find(run_id)
    return run if isinstance(run, TrainRun) else None


def find_model_run(run_id: str) -> ModelRun | None:
    """The training or purification with this id, or None when the store has none."""
    run = find(run_id)
    return run if isinstance(run, ModelRun) else None


def find_measurement(run_id: str) -> MeasureRun | None:
    """The measurement with this id, or None when the store has none, or a damaged one, which is
    noted. One that ships can be measured again.
    """
    run, where = find(run_id), store()
    if run is None and run_id:
        own = [where.root / run_id] if run_id in where.damaged() else []
        for folder in (*own, places.MEASUREMENTS / run_id):
            if os.path.lexists(folder) and isinstance(why := _ended(whole(), folder), str):
                damage.note(folder, why, _what_to_do(folder))
                break
    if not isinstance(run, MeasureRun):
        return None
    over = run.source == "shipped" or run.status == "done"
    if over and (why := readings.damage(run)):
        damage.note(run.path, why, _what_to_do(run.path))
        return None
    return run


def _what_to_do(folder: Path) -> str:
    """With the folder of a measurement that is damaged."""
    if folder.parent == places.MEASUREMENTS:
        return damage.PUT_BACK
    return f"Delete it with `ngf delete {folder.name}`, then measure again."


def _ended(where: Store, folder: Path) -> Run | str:
    """The run that ships in this folder, or why it is none that has ended."""
    try:
        run = open_run(where, folder, "shipped")
    except SpecError as exc:
        return str(exc)
    return run if run.facts.ended == "done" else f"{RESULT} is missing."


def origin(spec: ModelSpec) -> TrainSpec | None:
    """The training that a run is or starts from; None when it was deleted."""
    if isinstance(spec, TrainSpec):
        return spec
    trained = find_training(spec.parent)
    return None if trained is None else trained.spec


def data_facts(run: TrainRun) -> Mapping[str, Any]:
    """What is known about the images of a training: `classes`, `shape` (C, H, W), and more."""
    return (run.result or {}).get("facts") or catalogue()["data"].get(run.spec.data, {})


def layers_of(run: TrainRun) -> list[str]:
    """Names of the layers of its network that can be tuned alone."""
    if run.spec.imported:
        return list((run.result or {}).get("imported", {}).get("layers", []))
    return list(catalogue()["models"].get(run.spec.model, {}).get("layers", []))


def data_sets() -> list[str]:
    """The data sets that a network can be trained on here: not images that came with a model."""
    return [name for name, about in catalogue()["data"].items() if not about.get("imported")]


def trained() -> list[TrainRun]:
    """The finished trainings, those of the zoo first: the models that can be purified."""
    found = [
        ((run.source != "zoo", facts.spec.data, facts.spec.attack.name, facts.spec.seed), run)
        for run, facts in store().look().facts.items()
        if isinstance(run, TrainRun) and isinstance(facts.spec, TrainSpec) and facts.ended == "done"
    ]
    return [run for _, run in sorted(found, key=operator.itemgetter(0))]


def describe_train(run: TrainRun) -> str:
    """`seed 0 · CA 99.2 %, ASR 99.7 % · Pre-activation ResNet, tiny`"""
    (row,), spec = run.facts.rows, run.spec
    text = f"seed {spec.seed} · CA {percent(row['ca'])}"
    if spec.imported:
        text = f"{(run.result or {})['imported']['file']} · CA {percent(row['ca'])}"
    if row["asr"] is not None:
        text += f", ASR {percent(row['asr'])}"
    text += f" · {short('models', spec.model)}"
    options = ", ".join(f"{key} {str(value)[:16]}" for key, value in spec.attack.options.items())
    text += f" · {options}" if options else ""
    text += " · weak" if run.weak else ""
    text += " · of an earlier version" if spec.revision < REVISION else ""
    return f"{text} · made here" if run.source == "user" else text


def describe(run: Run) -> str:
    """A run in one line: `BadNets on traffic signs · NGF vs SGD · seed 0`, and whether its model is
    weak.
    """
    return _described(run) + (" · weak model" if run.weak else "")


def _described(run: Run) -> str:
    look = store().look()
    origin = look.origin(look.facts.get(run) or run.facts)
    if origin is None and (training := run.training()) is not None:
        origin = training.spec  # of a run that this visitor's store does not list: a terminal's
    attack = title("attacks", origin.attack.name) if origin else "unknown model"
    spec = run.spec
    if origin is not None and origin.imported and not isinstance(spec, MeasureSpec):
        return _of_import(run)
    if isinstance(spec, TrainSpec):
        return f"{attack} on {title('data', spec.data)} · seed {spec.seed}"
    if isinstance(spec, PurifySpec):
        lanes = " vs ".join(lane_title(lane) for lane in spec.lane_names())
        model_seed = f", model seed {origin.seed}" if origin else ""
        things = f" on {title('data', origin.data)}" if origin else ""
        fork = spec.fork()
        branch = f" · fork of {lane_title(fork.lane)} at step {fork.step:,}" if fork else ""
        return f"{attack}{things} · {lanes} · seed {spec.seed}{model_seed}{branch}"
    return f"{title('measurements', spec.measurement.name)} of {spec.target}"


def _of_import(run: Run) -> str:
    """`Imported model.pt · NGF vs SGD · seed 0`"""
    training = run.training()
    about = ((training.result if training else None) or {}).get("imported", {})
    name = f"Imported {about.get('file', 'model')}"
    spec = run.spec
    if not isinstance(spec, PurifySpec):
        return f"{name} · {spec.model}" if isinstance(spec, TrainSpec) else name
    lanes = " vs ".join(lane_title(lane) for lane in spec.lane_names())
    fork = spec.fork()
    branch = f" · fork of {lane_title(fork.lane)} at step {fork.step:,}" if fork else ""
    return f"{name} · {lanes} · seed {spec.seed}{branch}"


def measurable() -> list[ModelRun]:
    """What the Geometry page can show: finished purifications, newest first, then those that
    ship, then trained models.
    """
    runs = [run for run, facts in store().look().facts.items() if facts.ended == "done"]
    pure = [run for run in runs if isinstance(run, PurifyRun)]
    own = {run.id for run in pure}
    recorded = [run for run in recordings() if run.id not in own]
    return [*pure, *recorded, *(run for run in runs if isinstance(run, TrainRun))]


def describe_measurable(run: Run) -> str:
    return describe(run) + ("" if isinstance(run, PurifyRun) else " · before only")


def tell_apart(runs: Mapping[str, _AnyRun], words: Callable[[_AnyRun], str]) -> dict[str, str]:
    """A label per run, made by `words`; equal labels get the end of the run's id added.

    Streamlit identifies an option by its label, so equal labels would confuse the page as well.
    """
    labels = {name: words(run) for name, run in runs.items()}
    often = Counter(labels.values())
    return {
        name: f"{label} · {name[-6:]}" if often[label] > 1 else label
        for name, label in labels.items()
    }


def recordings() -> list[PurifyRun]:
    """The purifications that ship: that of the first page first, then by the attack. Those that are
    damaged are noted.
    """
    found, damaged = _recordings(whole(), places.RECORDINGS)
    for folder, why in damaged.items():
        damage.note(folder, why)
    return found


@functools.lru_cache(maxsize=4)
def _recordings(where: Store, shipped: Path) -> tuple[list[PurifyRun], dict[Path, str]]:
    found, damaged = [], {}
    for folder in sorted(path.parent for path in shipped.glob("*/" + SPEC)):
        run = _ended(where, folder)
        if isinstance(run, str):
            damaged[folder] = run
        elif isinstance(run, PurifyRun):
            found.append(run)
    return sorted(found, key=lambda run: (run.id != RACE.id, run.spec.parent, run.id)), damaged


def recording() -> PurifyRun | None:
    """The recorded race of the first page, or None when it is missing."""
    return next((run for run in recordings() if run.id == RACE.id), None)


def plain(text: object) -> str:
    """Text from a run, a file or a plug-in, in one line and escaped so that Markdown shows it as it
    is: no link, no image, no color, no formula, no icon.

    Addresses and icons are looked for after the escapes were taken away, so an invisible word
    joiner keeps those apart.
    """
    escaped = re.sub(r"([\\`*_{}\[\]<>$~|#:&])", r"\\\1", " ".join(str(text).split()))
    escaped = re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", escaped)  # no list, no line under a heading
    return re.sub(r"(:(?=\S)|\bwww(?=\.)|@)", "\\1\u2060", escaped, flags=re.IGNORECASE)


def disk_use() -> str:
    """The size of the visitor's runs in words."""
    total = sum(facts.size for run, facts in store().look().facts.items() if run.source == "user")
    return f"{total / 1e6:.1f} MB"
