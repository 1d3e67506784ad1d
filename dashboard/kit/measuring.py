"""The measurements of a minimum before and after a purification: which runs they are, and how
they stand.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from analysis import asking
from analysis.image_kinds import KINDS
from analysis.reactivation_words import possible
from dashboard.charts.subject import BENIGN, Measured, Subject
from dashboard.kit import library, readings, visitor
from dashboard.kit.readings import Reading
from dashboard.kit.submit import show_refusal, submit_all
from ngf.catalogue import catalogue
from ngf.config import Choice, MeasureSpec, Spec, Target
from ngf.runs.folder import ACTIVE, AGAIN, OPEN
from ngf.runs.store import PurifyRun, Run, TrainRun

# What one click measures: what is cheap and shows a picture first. The rest has its own buttons.
QUICK = ("loss_slice", "loss_plane", "fisher_trace", "loss_line", "hessian_spectrum")
REFUSED = "measuring"  # where what a button asked for and did not get is said


@dataclass(frozen=True)
class Side:
    """One of the models that are compared, and the images that it can be measured on."""

    subject: Subject
    target: str  # as in MeasureSpec: `id` or `id:lane`
    kinds: tuple[str, ...] = tuple(KINDS)
    poisoned: bool = True  # whether there are poisoned images for it

    @property
    def role(self) -> str:
        return self.subject.role


@dataclass(frozen=True)
class View:
    """What the reader wants to see: which models, on which images, under which seed, on which
    plane and walk (see `analysis.asking`).
    """

    sides: tuple[Side, ...]
    images: str = "clean"
    seed: int = 0
    overlaid: bool = False
    plane: str = "models"
    cells: int = 21
    matrix: str = "hessian"
    way: str = "line"
    walk: str = "steepest"

    def specs(self, name: str) -> list[tuple[Side, MeasureSpec]]:
        """The runs that measure `name`, one per model; none if this version has no such
        measurement.
        """
        return list(_specs(self, name))

    def third(self) -> str:
        """The third model of a plane: what another defense of the race made of the same model,
        else the benign one.
        """
        after = Target.parse(self.sides[-1].target)
        run = library.find(after.run)
        lanes = run.sound_lanes() if isinstance(run, PurifyRun) else ()
        others = [str(Target(after.run, lane)) for lane in lanes if lane != after.lane]
        benign = [side.target for side in self.sides[:1] if len(self.sides) > 2]
        return (others or benign or [""])[0]

    def quick(self) -> list[MeasureSpec]:
        return [item for name in QUICK for _, item in self.specs(name)]


@functools.lru_cache(maxsize=512)  # a page asks several times for each
def _specs(view: View, name: str) -> tuple[tuple[Side, MeasureSpec], ...]:
    about = catalogue()["measurements"].get(name)
    poisoned = about is not None and about["needs"]["poisoned"]
    return tuple(
        (side, item)
        for side, item in asking.specs(
            name,
            view.sides,
            images=view.images,
            seed=view.seed,
            options=asking.options_of(name, walk=view.walk, plane=view.plane, cells=view.cells),
            third=view.third(),
        )
        if side.poisoned or not poisoned
    )


def benign(run: Run) -> TrainRun | None:
    """The model without a backdoor that matches the run's: same data, architecture and seed;
    the zoo's first.
    """
    origin = run.training()
    if origin is None or origin.spec.attack.name == "none":
        return None
    wanted = replace(origin.spec, attack=Choice("none"))
    return next((other for other in library.trained() if other.spec == wanted), None)


def _kinds(origin: TrainRun | None) -> tuple[str, ...]:
    """The images that a model of this training can be measured on."""
    if origin is None:
        return tuple(KINDS)
    return asking.kinds_under(origin.spec.attack.name)


def sides(run: Run, lane: str, with_benign: bool = False) -> tuple[Side, ...]:
    """Benign if asked for, before, and after; a training alone has only itself."""
    origin = run.training()
    kinds = _kinds(origin)
    poisoned = origin is None or possible(origin)
    name = run.spec.id
    targets = [Target(name)]
    if isinstance(run, PurifyRun):
        targets = [Target.parse(run.spec.parent), Target(name, lane)]
    out = [
        Side(readings.subject(library.store(), str(target)), str(target), kinds, poisoned)
        for target in targets
    ]
    other = benign(run) if with_benign else None
    if other is not None:
        out.insert(0, Side(BENIGN, other.id, _kinds(other)))
    return tuple(out)


def kinds(run: Run) -> list[str]:
    """The images that can be measured on; a benign model has no trigger."""
    return list(_kinds(run.training()))


def submit(run_id: str, lane: str, view: View | None = None, names: Sequence[str] = QUICK) -> None:
    """Ask for the measurements `names` that are not there yet (for a button)."""
    run = library.find(run_id)
    if run is None:
        return
    view = view or View(sides(run, lane))
    submit_all(REFUSED, *(item for name in names for _, item in view.specs(name)))


def stop(ids: list[str]) -> None:
    """Stop those of the measurements that wait or run and are the visitor's (for a button)."""
    for run in visitor.mine(_found(ids)):
        if run.status in OPEN:
            visitor.command(run, "cancel")


def show_stop(ids: list[str], key: str) -> None:
    """A button that stops the measurements of this visitor, or whose they are."""
    found = _found(ids)
    if visitor.mine(found):
        st.button("Stop measuring", icon=":material/stop:", key=key, on_click=stop, args=(ids,))
    elif found:
        st.caption(f":material/visibility: {visitor.why_not(found[0])}")


def _found(ids: list[str]) -> list[Run]:
    return [run for run_id in ids if (run := library.find(run_id)) is not None]


def progress(specs: Sequence[Spec]) -> dict[str, list[str]]:
    """Ids by state, of measurements or other runs; `missing` for those that nobody asked for."""
    out: dict[str, list[str]] = {}
    for item in specs:
        measures = isinstance(item, MeasureSpec)
        run = (library.find_measurement if measures else library.find)(item.id)
        out.setdefault(run.status if run else "missing", []).append(item.id)
    return out


def to_do(states: Mapping[str, list[str]]) -> set[str]:
    """Ids of those that would be submitted."""
    return {run_id for name in ("missing", *AGAIN) for run_id in states.get(name, ())}


def sentence(states: Mapping[str, list[str]]) -> str:
    """`3 of 7 measurements done, 1 running, 3 waiting.`"""
    total = sum(map(len, states.values()))
    words = {
        "running": "running",
        "queued": "waiting",
        "failed": "failed",
        "cancelled": "stopped",
        "paused": "paused",
        "lost": "interrupted",
    }
    text = f"{len(states.get('done', []))} of {total} measurements done"
    return (
        text
        + "".join(f", {len(states[name])} {word}" for name, word in words.items() if name in states)
        + "."
    )


def shipped_sentence(specs: Sequence[Spec]) -> str:
    """How many of them were measured beforehand, on another machine."""
    runs = [library.find(item.id) for item in specs]
    count = sum(run is not None and run.source == "shipped" for run in runs)
    if not count:
        return ""
    return (
        f" {count} of them come with the program, measured on another machine; what you choose "
        "beyond them is measured on this one."
    )


def show_progress(run: Run, lane: str) -> None:
    """One line below the button of the Lab, which moves while something is measured."""
    show_refusal(REFUSED)
    specs = View(sides(run, lane)).quick()
    states = progress(specs)
    if states.keys() & set(ACTIVE):
        watch(specs, states)
    elif len(states.get("missing", [])) < len(specs):
        st.caption(sentence(states))


@st.fragment(run_every=1)
def watch(specs: Sequence[MeasureSpec], drawn: Mapping[str, list[str]]) -> None:
    """The line of progress, once a second; draws the whole page anew when a measurement
    changes its state.
    """
    states = progress(specs)
    st.caption(sentence(states))
    if states != drawn:
        st.rerun()


def along(run: PurifyRun, *images: str) -> list[Measured]:
    """What was measured along the first lane of a race, on each of these kinds of images."""
    target = f"{run.id}:{run.sound_lanes()[0]}"
    runs = [library.find_measurement(asking.along(target, kind).id) for kind in images]
    return readings.findings([found for found in runs if found is not None])


def read(item: MeasureSpec) -> Reading | None:
    """What the run of this specification has found so far."""
    return readings.read(library.find_measurement(item.id))
