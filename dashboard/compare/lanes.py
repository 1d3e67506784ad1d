"""What can be compared: lanes of finished purifications, those that ship, and trained models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dashboard.charts.compared import Entry, Value
from dashboard.charts.race import steps_of
from dashboard.charts.style import DASHES, lane_mark, series_mark
from dashboard.charts.subject import Subject
from dashboard.charts.titles import lane_title
from dashboard.compare import FIELDS
from dashboard.compare.fields import NONE, named, of_purification, of_training
from dashboard.kit import library, readings
from dashboard.kit.library import ModelRun
from ngf.config import Target
from ngf.options import SpecError
from ngf.runs.store import PurifyRun, TrainRun

MOST = 24  # models on one axis: more lines than a reader can follow, and each is read anew
FIRST = 5  # races that a bare address opens with
CONTEXT = ("attack", "data", "model_seed", "seed")  # what the numbers of a model are of
SETTINGS = ("network", "layer", "rate", "num_clean")
ROLES = {"benign": "Benign", "backdoored": "Backdoored", "imported": "Imported"}
Row = Mapping[str, Any]  # of `ngf.runs.rows`, with what `Run.summary` puts before it


@dataclass(frozen=True)
class Lane:
    """One row of the table that is ticked. row: see `ngf.runs.rows`.

    model_seed: of the training that it goes back to; None where that was deleted.
    """

    run: ModelRun
    row: Row
    model_seed: int | None

    @property
    def target(self) -> str:
        return str(self.row["target"])

    @property
    def lane(self) -> str:
        return str(self.row["lane"])


def lanes() -> dict[str, Lane]:
    """All that can be compared by its target: the visitor's runs, newest first, then the recordings
    that ship, then the zoo.
    """
    look = library.store().look()
    own = [
        run
        for run, facts in look.facts.items()
        if isinstance(run, TrainRun | PurifyRun) and facts.ended == "done"
    ]
    names = {run.id for run in own}
    shipped = [run for run in library.recordings() if run.id not in names]
    made = [run for run in own if run.source == "user"]
    zoo = [run for run in own if run.source != "user"]
    found: dict[str, Lane] = {}
    for run in (*made, *shipped, *zoo):
        facts = look.facts.get(run) or run.facts
        summary = look.summary(run) if run in look.facts else run.summary()
        origin = look.origin(facts)
        for row in (summary or {}).get("rows", ()):
            found[row["target"]] = Lane(run, row, None if origin is None else origin.seed)
    return found


def first_ticked(known: Mapping[str, Lane]) -> tuple[str, ...]:
    """What a bare address opens with: some of the recordings that ship, the first page's in
    front.
    """
    races = [run.id for run in library.recordings()[:FIRST]]
    return tuple(target for target, lane in known.items() if lane.run.id in races)


# ---- what is drawn of them


def entries(ticked: Sequence[Lane], by: str) -> list[Entry]:
    """The models on show, named by what tells them apart and colored by the field `by`."""
    found = [entry for lane in ticked if (entry := entry_of(lane)) is not None]
    return colored(told_apart(found), by)


def entry_of(lane: Lane) -> Entry | None:
    """One model, without name and color; None when its run was deleted or damaged this moment."""
    try:
        return _purified(lane) if isinstance(lane.run, PurifyRun) else _trained(lane)
    except (SpecError, FileNotFoundError):
        return None


def _purified(lane: Lane) -> Entry:
    run, row = lane.run, lane.row
    assert isinstance(run, PurifyRun)
    spec, result, training = run.spec, run.finished(), run.training()
    about = (result.get("lanes") or {}).get(lane.lane) or {}
    seen = steps_of(spec, run.outline())[lane.lane]
    ended = row["diverged"]
    return Entry(
        target=lane.target,
        fields={
            **of_training(training.spec if training else None),
            **of_purification(spec, lane.lane, row, about),
        },
        model=spec.parent,
        seed=spec.seed,
        role="purified",
        before=result.get("before") or {},
        after={} if ended else row,
        points=[event for event in seen if event.get("ca") is not None],
        steps=seen[-1]["steps"] if seen else 0,
        diverged=ended["step"] if ended else None,
    )


def _trained(lane: Lane) -> Entry:
    run = lane.run
    assert isinstance(run, TrainRun)
    return Entry(
        target=lane.target,
        fields={**dict.fromkeys(FIELDS, NONE), **of_training(run.spec)},
        model=run.id,
        seed=run.spec.seed,
        role=readings.subject(run.store, run.id).role,
        before=lane.row,
        after={},
    )


def told_apart(found: Sequence[Entry]) -> list[Entry]:
    """The entries, each named by its method, by what they are of where that differs, and by
    settings that tell some of one name apart.
    """
    fields = [
        field for field in CONTEXT if len({entry.fields[field] for entry in found} - {NONE}) > 1
    ]
    for field in SETTINGS:
        alike: dict[str, set[Value]] = {}
        for entry in found:
            alike.setdefault(_name(entry, fields), set()).add(entry.fields[field])
        if any(len(values) > 1 for values in alike.values()):
            fields.append(field)
    names = [_name(entry, fields) for entry in found]
    often = Counter(names)
    return [
        replace(entry, name=name if often[name] == 1 else f"{name} · {_mark_of(entry)}")
        for entry, name in zip(found, names, strict=True)
    ]


def _name(entry: Entry, fields: Sequence[str]) -> str:
    method = entry.fields["method"].words if entry.purified else ROLES[entry.role]
    parts = (named(field, entry.fields[field]) for field in fields)
    return " · ".join([method, *filter(None, parts)])


def _mark_of(entry: Entry) -> str:
    """The end of the run's id, and the lane where a run has several alike."""
    of = Target.parse(entry.target)
    return " ".join(filter(None, [of.run[-6:], of.lane and lane_title(of.lane)]))


def colored(found: Sequence[Entry], by: str) -> list[Entry]:
    """The entries in the color of their value of the field `by`: a method has its own, and a few
    models of one method have a dash each.
    """
    values = sorted({entry.fields[by] for entry in found}, key=lambda value: value.place)
    size = Counter(entry.fields[by] for entry in found)
    seen: Counter[Value] = Counter()
    out = []
    for entry in found:
        group = entry.fields[by]
        if by != "method":
            mark = series_mark(values.index(group))
        else:
            mark = lane_mark(group.key) if entry.purified else Subject(entry.role).mark
            if size[group] <= len(DASHES):
                mark = replace(mark, dash=DASHES[seen[group]])
        seen[group] += 1
        out.append(replace(entry, group=group, mark=mark))
    return out
