"""How long a run will take, and how many runs wait before it.

There are three sources, the best one first, and the page says which it is: past runs on this
machine, steps that were timed on this machine (`ngf.timing.estimate`), and the runs that ship with
the project. A child process does the timing, `python -m ngf calibrate`, on a click or when a preset
is chosen; opening a page starts nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from statistics import median
from typing import Any

import streamlit as st

from dashboard.kit import calibrating, library
from dashboard.kit.library import ModelSpec
from dashboard.kit.visitor import visitor
from ngf.catalogue import catalogue, options_of
from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.defenses.fine_tuning.options import strength_of
from ngf.machine import was_made_here
from ngf.runs.facts import Facts
from ngf.runs.store import MeasureRun, Run
from ngf.timing import estimate as timing

_What = tuple[Hashable, ...]  # what runs have in common whose time grows with their work only
_ALIKE = 4  # a past run tells the time of others that are up to so many times more or less work
SOURCES = {
    "past": "from past runs on this machine",
    "timed": "from steps timed on this machine",
    "shipped": "from the shipped runs, made on another machine",
}
HERE = ("past", "timed")  # sources that tell of this machine


@st.cache_data(ttl=5, show_spinner=False)
def _past(root: str) -> dict[_What, list[tuple[float, float]]]:
    """Finished runs as (amount of work, seconds per unit of it), by what they did and whether they
    were made here.
    """
    table: dict[_What, list[tuple[float, float]]] = {}
    look = library.store().look()
    runs = [*look.facts.items(), *((run, run.facts) for run in library.recordings())]
    for run, facts in runs:
        if isinstance(run, MeasureRun) or facts.ended != "done":
            continue
        if facts.attempts > 1:  # a resumed run knows the time of its last part only
            continue
        here = run.source == "user" and was_made_here(facts.environment)
        for what, work, seconds in _parts(facts, look.origin(facts)):
            if what is not None and work and seconds:
                key = (*what, "past" if here else "shipped")
                table.setdefault(key, []).append((work, seconds / work))
    return table


def _parts(
    facts: Facts, origin: TrainSpec | None
) -> Iterator[tuple[_What | None, float, float | None]]:
    """The parts of a run that take time: (what it is, amount of work, seconds)."""
    if isinstance(facts.spec, TrainSpec):
        yield _what(facts.spec), _work(facts.spec), facts.rows[0]["seconds"]
    if isinstance(facts.spec, PurifySpec):
        for row, lane in zip(facts.rows, facts.spec.lanes, strict=True):
            # one that diverged has not made all its steps
            seconds = None if row["diverged"] else row["seconds"]
            yield _what_lane(lane, origin), _steps(lane, facts.spec, origin), seconds


def _what(spec: TrainSpec) -> _What:
    """What a training has in common with others that take as long per image."""
    about = catalogue()["attacks"].get(spec.attack.name, {})
    attack = spec.attack if about.get("prepared") or about.get("controlled") else None
    t = spec.training
    return spec.model, spec.data, t.batch_size, t.processes, t.sync_batch_norm, attack


def _work(spec: TrainSpec) -> float:
    return spec.training.epochs * spec.training.num_images


def _what_lane(lane: Choice, origin: TrainSpec | None) -> _What | None:
    """What a lane has in common with others that take as long per step."""
    if origin is None:
        return None
    options = tuple(
        sorted(
            (name, value) for name, value in lane.options.items() if name in ("layer", "batch_size")
        )
    )
    return origin.model, origin.data, lane.name, options, strength_of(lane.options) == 0


def _from_runs(what: _What | None, work: float, source: str) -> float | None:
    """Seconds by finished runs of about as much work; by any, where they only ship."""
    found = _past(str(library.store().root)).get((*(what or ()), source), [])
    near = [
        each
        for done, each in found
        if source == "shipped" or work / _ALIKE <= done <= work * _ALIKE
    ]
    return median(near) * work if near else None


def time_of(spec: ModelSpec, origin: TrainSpec | None = None) -> tuple[float | None, str]:
    """The seconds that a run will take, and the source of this; (None, "") when none knows.

    origin: the training that it is or starts from, where that is not there yet.
    """
    origin = origin or library.origin(spec)
    for source in SOURCES:
        found = _timed(spec, origin) if source == "timed" else _by_runs(spec, origin, source)
        if found is not None:
            return found, source
    return None, ""


def _by_runs(spec: ModelSpec, origin: TrainSpec | None, source: str) -> float | None:
    if isinstance(spec, TrainSpec):
        return _from_runs(_what(spec), _work(spec), source)
    total = 0.0
    for lane in spec.lanes:
        seconds = _from_runs(_what_lane(lane, origin), _steps(lane, spec, origin), source)
        if seconds is None:
            return None
        total += seconds
    return 1.5 * total  # measuring between the steps takes half as long again, at most


def _timed(spec: ModelSpec, origin: TrainSpec | None) -> float | None:
    if origin is None:
        return None
    return timing.time_of(spec, origin.model, _facts(spec, origin))


def _facts(spec: ModelSpec, origin: TrainSpec) -> Mapping[str, Any]:
    trained = library.find_training(spec.parent) if isinstance(spec, PurifySpec) else None
    return (
        catalogue()["data"].get(origin.data, {}) if trained is None else library.data_facts(trained)
    )


def _steps(lane: Choice, spec: PurifySpec, origin: TrainSpec | None) -> float:
    """What the time of a lane grows with: its work where steps are not all alike, else its steps;
    1 for a defense without a number of these.
    """
    facts = {} if origin is None else catalogue()["data"].get(origin.data, {})
    work = timing.work_of(lane, spec.num_clean, timing.classes_of(facts))
    return work or int(options_of("defenses", lane).get("steps", 1)) or 1


def words(seconds: float) -> str:
    """`about 40 s`, `about 3 min`, `about 2.5 hours`, `about 3 days`"""
    for unit, size, limit, digits in (
        ("s", 1, 90, 0),
        ("min", 60, 5400, 0),
        ("hours", 3600, 48 * 3600, 1),
    ):
        if seconds < limit:
            return f"about {max(1, round(seconds / size, digits)):g} {unit}"
    return f"about {round(seconds / 86400)} days"


def sentence(spec: ModelSpec) -> str:
    """How long a run takes, and how that is known."""
    return _said(*time_of(spec))


def _said(seconds: float | None, source: str) -> str:
    if seconds is None:
        return "How long it takes here is not known yet."
    return f"Takes {words(seconds)} ({SOURCES[source]})."


def show(spec: ModelSpec) -> None:
    """How long a run takes, what waits before it, and a button that times steps where nothing
    that ran on this machine tells the time.
    """
    st.caption(in_words(spec))
    offer(spec)


def in_words(spec: ModelSpec) -> str:
    """How long a run takes, and what waits before it."""
    return f"{sentence(spec)} {queue()}"


def offer(spec: ModelSpec) -> None:
    """A button that times steps; nothing where runs or steps of this machine tell the time."""
    if time_of(spec)[1] in HERE or not _can_be_timed(spec):
        return
    job = calibrating.job_of(spec)
    if job is not None and job.going:
        _wait_for(spec)
        return
    if job is not None and job.problem:
        st.caption(f":material/error: It could not be timed. {library.plain(job.problem)}")
    st.button(
        "Measure how long it takes here",
        icon=":material/timer:",
        key="estimate.measure",
        on_click=calibrating.start,
        args=(spec,),
        disabled=calibrating.busy(),
        help="Times a few steps on random images: some seconds, for a large network a minute.",
    )


@st.fragment(run_every=1)
def _wait_for(spec: ModelSpec) -> None:
    job = calibrating.job_of(spec)
    if job is not None and job.going:
        st.caption(":material/timer: Timing a few steps on this machine …")
    else:
        st.rerun()


def measure_if_unknown(spec: ModelSpec) -> None:
    """Time the steps of `spec` when nothing that ran on this machine tells its time."""
    if time_of(spec)[1] not in HERE and _can_be_timed(spec):
        calibrating.start(spec)


def _can_be_timed(spec: ModelSpec) -> bool:
    """Whether the size of the images is known without reading files."""
    origin = library.origin(spec)
    return origin is not None and timing.cases(spec, origin.model, _facts(spec, origin)) is not None


def queue(run: Run | None = None) -> str:
    """How many runs go first, and for how long at most: before `run`, or before one that would be
    submitted now. Measurements have queues of their own.
    """
    store = library.store()
    waiting = store.queue() if run is not None else store.ahead_of(visitor().id)
    names = [item.id for item in waiting]
    if run is not None and run.id in names:
        waiting = waiting[: names.index(run.id)]
    ahead = [item for item in waiting if not isinstance(item, MeasureRun)]
    ahead += [
        item
        for item, facts in store.look().facts.items()
        if item.source == "user"
        and not facts.ended
        and not isinstance(item, MeasureRun)
        and item.id not in names
        and item.status == "running"
    ]
    if not ahead:
        return "Nothing waits before it."
    times = [time_of(item.spec)[0] for item in ahead if not isinstance(item.spec, MeasureSpec)]
    known = [seconds for seconds in times if seconds is not None]
    one = len(ahead) == 1
    said = "1 run goes first." if one else f"{len(ahead)} runs go first."
    if known and len(known) == len(times):
        said += f" {'It takes' if one else 'They take'} {words(sum(known))}."
    return said
