"""The valley map: the loss on triggered images with their true labels, on the plane through the
models, with the way of the optimizer. It stands beside the race, at the same step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from analysis.asking import TRIGGERED
from dashboard.charts.registry import ChartOptions, draw
from dashboard.charts.titles import lane_title
from dashboard.kit import library, measuring, readings
from dashboard.kit.measuring import View
from dashboard.kit.show import show
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import MeasureSpec
from ngf.runs.folder import ACTIVE, AGAIN, FINAL, Status
from ngf.runs.store import MeasureRun, PurifyRun

_PLACE = "valley"
_HEIGHT = 394  # of the race and its slider
_NAME = "the valley map"


def spec_of(run: PurifyRun) -> MeasureSpec | None:
    """The measurement of the first sound lane; None where there is no trigger, or nothing that
    spans a plane with the two models of the lane.
    """
    sides = measuring.sides(run, run.sound_lanes()[0], with_benign=True)
    view = View(sides, TRIGGERED, plane="models")
    if not view.third() or TRIGGERED not in sides[-1].kinds:
        return None
    found = [spec for _, spec in view.specs("loss_plane")]
    return next((spec for spec in found if _images(spec) == TRIGGERED), None)


def _images(spec: MeasureSpec) -> str:
    return str(spec.measurement.options.get("data", "clean"))


def measurement(run: PurifyRun) -> MeasureRun | None:
    """The map of a finished race that was asked for, or that ships; None where there is none, or
    none that has something to show.
    """
    if run.status != "done" or (spec := spec_of(run)) is None:
        return None
    found = library.find_measurement(spec.id)
    return found if found is not None and _shows(found.status, found) else None


def _shows(status: Status, found: MeasureRun) -> bool:
    return status in ACTIVE or readings.read(found) is not None


def show_valley(run: PurifyRun, found: MeasureRun, steps: str) -> None:
    """The map, which gets exact by itself; steps: the name of the charts that show one step."""
    status = found.status
    measured = readings.findings([found])
    (chart,) = draw("planes", measured, ChartOptions(view="contour", log=True))
    show(
        chart,
        f"valley.{found.id}",
        name=_NAME,
        height=_HEIGHT,
        steps=steps,
        url=None if status in FINAL else f"api/runs/{found.id}/charts/planes?view=contour&log=1",
    )
    st.caption(_said(run, measured[0].values))


def _said(run: PurifyRun, values: Mapping[str, Any]) -> str:
    lane = lane_title(run.sound_lanes()[0])
    what = f"Loss on triggered images with their true labels; the line is the way of {lane}."
    if not values.get("n"):
        return what
    share = values.get("path_share")
    inside = f" {100 * share:.0f} % of its length lies in this plane." if share else ""
    kept = "" if share is not None else " This run kept no weights on its way, so no line is drawn."
    return f"{what}{inside}{kept} *Measured*: n = {values['n']:,} · seed {values['seed']}"


def offer(run: PurifyRun) -> None:
    """A button that asks for the map of a finished race of one's own, where it is not there."""
    if (spec := spec_of(run)) is None:
        return
    states = measuring.progress([spec])
    if not states.keys() & {"missing", *AGAIN} or measurement(run) is not None:
        return
    st.button(
        "Draw the valley map",
        icon=":material/landscape:",
        key="lab.valley",
        on_click=_ask,
        args=([spec],),
        help="The loss on triggered images with their true labels, on the plane through the "
        "models, with the way of the optimizer: beside the race, at the same step. The first "
        "picture comes after some seconds.",
    )
    show_refusal(_PLACE)


def _ask(specs: Sequence[MeasureSpec]) -> None:
    submit_all(_PLACE, *specs)
