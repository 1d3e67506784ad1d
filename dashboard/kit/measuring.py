"""The measurements of a minimum before and after a purification: which runs they are, and how
they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard.charts.registry import IMAGES
from dashboard.kit import library, readings
from dashboard.kit.readings import Reading
from ngf.catalogue import catalogue, normalize
from ngf.config import Choice, MeasureSpec, SpecError
from ngf.runs.store import Run

# What one click measures: what is cheap and shows a picture first. The rest has a button of its
# own.
QUICK = ("loss_slice", "loss_plane", "fisher_trace", "loss_line", "hessian_spectrum")
PLANE_IMAGES = 256  # a plane has hundreds of cells; half the images are twice the speed
TEST_IMAGES = ("clean", "triggered_true", "triggered_target")
UNTRIGGERED = ("clean", "train", "validation")  # what can be measured of a model without an attack


@dataclass(frozen=True)
class Side:
    """One of the models that are compared, and the images that it can be measured on."""

    title: str
    target: str  # as in MeasureSpec: `id` or `id:lane`
    kinds: tuple[str, ...] = tuple(IMAGES)
    purified: bool = False


@dataclass(frozen=True)
class View:
    """What the reader wants to see: which models, on which images, under which seed, on which
    plane.
    """

    sides: tuple[Side, ...]
    images: str = "clean"
    seed: int = 0
    overlaid: bool = False
    plane: str = "random"
    cells: int = 21
    matrix: str = "hessian"
    way: str = "line"

    def specs(self, name: str) -> list[tuple[Side, MeasureSpec]]:
        """The runs that measure `name`, one a model; none if this version has no such
        measurement.
        """
        if name not in catalogue()["measurements"]:
            return []
        sides = [side for side in self.sides if self.images in side.kinds]
        if (
            name == "loss_line"
        ):  # one model's line: the backdoor is on triggered images, whatever else is chosen
            return [
                (side, spec(name, side, self.seed, data=kind))
                for side in self.sides
                if side.purified
                for kind in side.kinds
                if kind in (*TEST_IMAGES, self.images)
            ]
        if name == "loss_bend":
            sides = [side for side in sides if side.purified]
        if name == "rescaling":  # a demonstration: one model is enough
            sides = sides[-1:] if len(sides) == 1 else sides[-2:-1]
        options: dict[str, Any] = {}
        if name == "loss_plane":
            options = {"plane": self.plane, "points": self.cells, "num_images": PLANE_IMAGES}
            if self.plane == "models":  # one plane holds them all
                sides = [side for side in sides if side.purified]
                options["third"] = self._third()
        return [(side, spec(name, side, self.seed, data=self.images, **options)) for side in sides]

    def _third(self) -> str:
        """The third model of a plane: what another defense of the race made of the same
        model, else the benign one.
        """
        after = self.sides[-1].target
        run = find(after.partition(":")[0])
        lanes = run.spec.lane_names() if run is not None and run.spec.kind == "purify" else ()
        others = [target for lane in lanes if (target := f"{run.spec.id}:{lane}") != after]
        return (others or [side.target for side in self.sides[:1] if len(self.sides) > 2] or [""])[
            0
        ]

    def quick(self) -> list[MeasureSpec]:
        return [item for name in QUICK for _, item in self.specs(name)]


def benign(run: Run) -> Run | None:
    """The model without a backdoor that matches the run's: same data, architecture and seed;
    the zoo's first.
    """
    origin = library.ancestor(run)
    if origin is None or origin.spec.attack.name == "none":
        return None
    same = [
        other
        for other in library.trained()
        if other.spec.attack.name == "none"
        and (other.spec.data, other.spec.model, other.spec.seed, other.spec.training)
        == (origin.spec.data, origin.spec.model, origin.spec.seed, origin.spec.training)
    ]
    return same[0] if same else None


def _kinds(origin: Run | None) -> tuple[str, ...]:
    """The images that a model of this training can be measured on."""
    if origin is None:
        return tuple(IMAGES)
    if origin.spec.attack.name == "none":
        return UNTRIGGERED
    controlled = catalogue()["attacks"].get(origin.spec.attack.name, {}).get("controlled")
    return tuple(
        kind for kind in IMAGES if not (controlled and kind == "poisoned")
    )  # each batch has its own mix


def sides(run: Run, lane: str, with_benign: bool = False) -> tuple[Side, ...]:
    """Benign if asked for, before, and after; a training alone has only itself."""
    origin = library.ancestor(run)
    kinds = _kinds(origin)
    targets = (
        [run.spec.parent, f"{run.spec.id}:{lane}"] if run.spec.kind == "purify" else [run.spec.id]
    )
    out = [
        Side(readings.model_title(library.store(), target), target, kinds, ":" in target)
        for target in targets
    ]
    other = benign(run) if with_benign else None
    return tuple(([Side("Benign", other.id, UNTRIGGERED)] if other is not None else []) + out)


def spec(measurement: str, side: Side, seed: int, **options: Any) -> MeasureSpec:
    """The run that measures one side; options that the measurement does not have are left
    out. Raises SpecError.
    """
    known = {item["name"] for item in catalogue()["measurements"][measurement]["fields"]}
    choice = Choice(measurement, {name: value for name, value in options.items() if name in known})
    return MeasureSpec(target=side.target, seed=seed, measurement=normalize("measurements", choice))


def kinds(run: Run) -> list[str]:
    """The images that can be measured on; a benign model has no trigger."""
    return list(sides(run, "")[0].kinds)


def planes() -> list[str]:
    """What can span the plane, as far as this version knows."""
    fields = catalogue()["measurements"].get("loss_plane", {}).get("fields", [])
    return next((list(item["choices"]) for item in fields if item["name"] == "plane"), [])


def submit(run_id: str, lane: str, view: View | None = None, names: Sequence[str] = QUICK) -> None:
    """Ask for the measurements `names` that are not there yet (for a button)."""
    run = find(run_id)
    if run is None:
        return
    st.session_state["minimum.refused"] = ""
    view = view or View(sides(run, lane))
    try:
        if run.spec.kind == "purify":
            library.adopt(run)
        for name in names:
            for _, item in view.specs(name):
                library.store().submit(item, library.owner())
    except (SpecError, OSError) as error:
        st.session_state["minimum.refused"] = str(error)


def stop(ids: list[str]) -> None:
    """Stop the measurements that wait or run (for a button)."""
    for run_id in ids:
        run = library.find(run_id)
        if run is not None and run.status in library.OPEN:
            run.control("cancel")


def find(run_id: str) -> Run | None:
    """A run of the store, or the recording under the name that its specification has."""
    recorded = library.recording()
    if recorded is not None and run_id == recorded.spec.id:
        return recorded
    return library.find(run_id)


def progress(specs: Sequence[MeasureSpec]) -> dict[str, list[str]]:
    """Ids by state; `missing` for those that nobody asked for."""
    out: dict[str, list[str]] = {}
    for item in specs:
        run = library.find(item.id)
        out.setdefault(run.status if run else "missing", []).append(item.id)
    return out


def to_do(states: Mapping[str, list[str]]) -> int:
    return sum(len(states.get(name, [])) for name in ("missing", "cancelled", "failed"))


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


def show_progress(run: Run, lane: str) -> None:
    """One line below the button of the Lab, which moves while something is measured."""
    if st.session_state.get("minimum.refused"):
        st.error(st.session_state["minimum.refused"], icon=":material/block:")
    specs = View(sides(run, lane)).quick()
    states = progress(specs)
    if states.keys() & set(library.ACTIVE):
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


def read(item: MeasureSpec) -> Reading | None:
    """What the run of this specification has found so far."""
    return readings.read(library.find(item.id))
