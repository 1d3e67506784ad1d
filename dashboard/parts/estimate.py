"""How long a run will take, from what past runs took, and how many wait before it."""

from __future__ import annotations

from statistics import median

import streamlit as st

from dashboard.parts import library
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.jobs.store import Run


@st.cache_data(ttl=5, show_spinner=False)
def _past(root: str) -> tuple[dict, dict]:
    """Seconds a step by (defense, source), seconds a training image by (model, source)."""
    lanes: dict[tuple[str, str], list[float]] = {}
    images: dict[tuple[str, str], list[float]] = {}
    runs = [(run, run.source) for run in library.store().runs()]
    recorded = library.recording()
    if recorded is not None:
        runs.append((recorded, "zoo"))
    for run, source in runs:
        result, spec = run.result, run.spec
        if not result:
            continue
        if spec.kind == "purify":
            for lane, choice in zip(spec.lane_names(), spec.lanes, strict=True):
                about = result["lanes"].get(lane, {})
                if about.get("steps") and about.get("seconds"):
                    key = (choice.name, source)
                    lanes.setdefault(key, []).append(about["seconds"] / about["steps"])
        elif spec.kind == "train" and result.get("seconds"):
            work = spec.training.epochs * spec.training.num_images
            images.setdefault((spec.model, source), []).append(result["seconds"] / work)
    return lanes, images


def _pick(table: dict[tuple[str, str], list[float]], name: str) -> tuple[float | None, str]:
    for source in ("user", "zoo"):
        if (name, source) in table:
            return median(table[name, source]), source
    return None, ""


def _steps(lane: Choice) -> int:
    fields = {item["name"]: item["default"] for item in catalogue()["defenses"][lane.name]["fields"]}
    return int(lane.options.get("steps", fields.get("steps", 100)))


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"


_FROM = {"user": "from past runs on this machine", "zoo": "from the recorded runs, made on another machine"}


def purify_time(spec: PurifySpec) -> str:
    lanes, _ = _past(str(library.store().root))
    found = [(_pick(lanes, lane.name), _steps(lane)) for lane in spec.lanes]
    if any(each is None for (each, _), _ in found):
        return "No estimate of the time yet: no such run has finished here."
    source = "zoo" if any(source == "zoo" for (_, source), _ in found) else "user"
    return f"Takes {_words(sum(each * steps for (each, _), steps in found))} ({_FROM[source]})."


def train_time(spec: TrainSpec) -> str:
    _, images = _past(str(library.store().root))
    each, source = _pick(images, spec.model)
    if each is None:
        return "No estimate of the time yet: no such training has finished here."
    return f"Takes {_words(each * spec.training.epochs * spec.training.num_images)} ({_FROM[source]})."


def queue(run: Run | None = None) -> str:
    """How many runs go first: before `run`, or before one that would be submitted now."""
    waiting = [item.id for item in library.store().queue() if item.spec.kind != "measure"]
    ahead = waiting.index(run.id) if run is not None and run.id in waiting else len(waiting)
    ahead += sum(item.status == "running" and item.spec.kind != "measure" for item in library.store().runs())
    if not ahead:
        return "Nothing waits before it."
    return "1 run goes first." if ahead == 1 else f"{ahead} runs go first."
