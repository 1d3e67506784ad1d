"""How long a run will take and how many wait before it.

Three sources, the best one first, and the page says which: past runs on this machine, steps that
were timed on this machine (`ngf.timing.estimate`), runs that ship with the project. Timing is done
by a child, `python -m ngf calibrate`, on a click or when a preset is chosen; opening a page starts
nothing.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import streamlit as st

from dashboard.kit import calibrating, library
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.machine import was_made_here
from ngf.runs.store import Run
from ngf.timing import estimate as timing

_ALIKE = 4  # how many times more or less work a past run may be that tells the time of another
SOURCES = {
    "past": "from past runs on this machine",
    "timed": "from steps timed on this machine",
    "shipped": "from the shipped runs, made on another machine",
}


@st.cache_data(ttl=5, show_spinner=False)
def _past(root: str) -> dict[tuple, list[tuple[float, float]]]:
    """(amount of work, seconds for each unit of it) of finished runs, by what they did and
    whether it was here.
    """
    table: dict[tuple, list[tuple[float, float]]] = {}

    def add(run: Run, what: tuple | None, work: float, seconds: float | None) -> None:
        here = run.source == "user" and was_made_here(run.result.get("environment", {}))
        if (
            what is not None and work and seconds and run.attempts <= 1
        ):  # a resumed run tells its last part only
            table.setdefault((*what, "past" if here else "shipped"), []).append(
                (work, seconds / work)
            )

    recorded = library.recording()
    for run in [*library.store().runs(), *([recorded] if recorded is not None else [])]:
        if run.status != "done" or run.spec.kind == "measure":
            continue
        if run.spec.kind == "train":
            add(run, _what(run.spec), _work(run.spec), run.result.get("seconds"))
            continue
        for name, lane in zip(run.spec.lane_names(), run.spec.lanes, strict=True):
            seconds = run.result["lanes"].get(name, {}).get("seconds")
            add(run, _what_lane(lane, run.spec), _steps(lane), seconds)
    return table


def _what(spec: TrainSpec) -> tuple:
    """What a training has in common with others that take as long for each image."""
    about = catalogue()["attacks"].get(spec.attack.name, {})
    attack = spec.attack if about.get("prepared") or about.get("controlled") else None
    return spec.model, spec.data, spec.training.batch_size, attack


def _work(spec: TrainSpec) -> float:
    return spec.training.epochs * spec.training.num_images


def _what_lane(lane: Choice, spec: PurifySpec) -> tuple | None:
    origin = library.find(spec.parent)
    if origin is None or origin.spec.kind != "train":
        return None
    options = tuple(
        sorted(
            (name, value) for name, value in lane.options.items() if name in ("layer", "batch_size")
        )
    )
    return origin.spec.model, origin.spec.data, lane.name, options, lane.options.get("lr") == 0


def _from_runs(what: tuple | None, work: float, source: str) -> float | None:
    """Seconds by finished runs of about as much work; by any, where they are only shipped."""
    found = _past(str(library.store().root)).get((*(what or ()), source), [])
    near = [
        each
        for done, each in found
        if source == "shipped" or work / _ALIKE <= done <= work * _ALIKE
    ]
    return median(near) * work if near else None


def time_of(spec: TrainSpec | PurifySpec) -> tuple[float | None, str]:
    """Seconds that a run will take, and the source that says so; (None, "") when none does."""
    for source in ("past", "timed", "shipped"):
        if source == "timed":
            found = _timed(spec)
        elif spec.kind == "train":
            found = _from_runs(_what(spec), _work(spec), source)
        else:
            lanes = [
                _from_runs(_what_lane(lane, spec), _steps(lane), source) for lane in spec.lanes
            ]
            # Measuring between the steps takes half as long again, at most.
            found = None if None in lanes else 1.5 * sum(lanes)
        if found is not None:
            return found, source
    return None, ""


def _timed(spec: TrainSpec | PurifySpec) -> float | None:
    origin = _origin(spec)
    return None if origin is None else timing.time_of(spec, origin.model, _facts(spec))


def _origin(spec: TrainSpec | PurifySpec) -> TrainSpec | None:
    """The training behind it, None when it was deleted."""
    return spec if spec.kind == "train" else getattr(library.find(spec.parent), "spec", None)


def _facts(spec: TrainSpec | PurifySpec) -> dict[str, Any]:
    if spec.kind == "train":
        return catalogue()["data"].get(spec.data, {})
    return library.data_facts(library.find(spec.parent))


def _steps(lane: Choice) -> int:
    """What the time of a lane grows with; 1 of a defense that is not told how many steps."""
    fields = {
        item["name"]: item["default"] for item in catalogue()["defenses"][lane.name]["fields"]
    }
    return int(lane.options.get("steps", fields.get("steps", 1))) or 1


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


def sentence(spec: TrainSpec | PurifySpec) -> str:
    """How long it takes, and by what source."""
    seconds, source = time_of(spec)
    if seconds is None:
        return "How long it takes here is not known yet."
    return f"Takes {words(seconds)} ({SOURCES[source]})."


def show(spec: TrainSpec | PurifySpec) -> None:
    """The time, what waits before, and a button that times a step here where nothing that ran
    here tells it.
    """
    st.caption(f"{sentence(spec)} {queue()}")
    if _known(spec):
        return
    job = calibrating.job_of(spec)
    if job is not None and job.going:
        _wait_for(spec)
        return
    if job is not None and job.problem:
        st.caption(f":material/error: It could not be timed. {library.plain(job.problem)}")
    if _can_be_timed(spec):
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
def _wait_for(spec: TrainSpec | PurifySpec) -> None:
    job = calibrating.job_of(spec)
    if job is not None and job.going:
        st.caption(":material/timer: Timing a few steps on this machine …")
    else:
        st.rerun()


def measure_if_unknown(spec: TrainSpec | PurifySpec) -> None:
    """Time the steps of `spec` when nothing that ran here tells its time."""
    if not _known(spec) and _can_be_timed(spec):
        calibrating.start(spec)


def _known(spec: TrainSpec | PurifySpec) -> bool:
    return time_of(spec)[1] in ("past", "timed")


def _can_be_timed(spec: TrainSpec | PurifySpec) -> bool:
    """Whether the size of the images is known without reading files."""
    origin = _origin(spec)
    return origin is not None and timing.cases(spec, origin.model, _facts(spec)) is not None


def queue(run: Run | None = None) -> str:
    """How many runs go first: before `run`, or before one that would be submitted now."""
    waiting = [item.id for item in library.store().queue() if item.spec.kind != "measure"]
    ahead = waiting.index(run.id) if run is not None and run.id in waiting else len(waiting)
    ahead += sum(
        item.status == "running" and item.spec.kind != "measure" for item in library.store().runs()
    )
    if not ahead:
        return "Nothing waits before it."
    return "1 run goes first." if ahead == 1 else f"{ahead} runs go first."
