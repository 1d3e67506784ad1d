"""From names to charts, the same for pages and for the JSON route."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from analysis.verdict import shipped_reference
from dashboard.charts.axes import same_axes
from dashboard.charts.bars import bars_of_layers, bars_of_measure, measure_bars
from dashboard.charts.bend import bend_chart
from dashboard.charts.chart import Chart
from dashboard.charts.checkup import checkup_chart, triggers_chart
from dashboard.charts.layers import layer_chart
from dashboard.charts.loss_line import line_chart, lines
from dashboard.charts.loss_plane import VIEWS, Arrays, plane_chart
from dashboard.charts.loss_slice import slice_chart, slices
from dashboard.charts.picture import About, picture_chart
from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.rates import Event
from dashboard.charts.rescaling import rescaling_chart
from dashboard.charts.scene import scene_chart
from dashboard.charts.spectrum import spectra, spectrum_chart
from dashboard.charts.subject import Measured
from dashboard.charts.training import training_chart
from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, PurifySpec, Spec, TrainSpec
from ngf.runs.log import Outline

BARS = ("lambda_max", "trace", "fisher_trace", "filter_lambda_max")  # measures drawn as bars
WAITING = {"data": [], "layout": {"meta": {"waiting": "Waiting for the first numbers …"}}}

Events = Sequence[Event]
Found = Sequence[Measured]
Item = TypeVar("Item")


@dataclass(frozen=True)
class ChartOptions:
    """How the reader wants a chart of measurements drawn; each chart uses what concerns it.

    together: all models in one picture.
    view: of a plane, map or surface.
    log: whether the heights of a plane are logarithms.
    which: of several planes.
    value: the measure that bars show, or the measurement whose own picture is drawn.
    at: the factor of a rescaled layer.
    """

    together: bool = False
    view: str = VIEWS[0]
    log: bool = False
    which: int = 0
    value: str = "lambda_max"
    at: float = 1.0


OF_PURIFICATIONS: dict[str, Callable[[PurifySpec, Events], Chart]] = {
    "race": race_chart,
    "internals": internals_chart,
    "layers": lambda spec, events: layer_chart(events),
}
OF_TRAININGS: dict[str, Callable[[TrainSpec, Events], Chart]] = {
    "training": lambda spec, events: training_chart(events),
}
# The readings of some models make one chart per model, on common axes, or one chart for all.
OF_MEASUREMENTS: dict[str, Callable[[Found, ChartOptions], list[Chart]]] = {
    "slices": lambda found, options: _each(slice_chart, slices(found), options),
    "planes": lambda found, options: _planes(found, options),
    "spectra": lambda found, options: _each(spectrum_chart, spectra(found), options),
    "bars": lambda found, options: [measure_bars(bars_of_measure(found, options.value))],
    "layer_traces": lambda found, options: [measure_bars(bars_of_layers(found))],
    "lines": lambda found, options: [line_chart(lines(found))],
    "bends": lambda found, options: [bend_chart(one.values, one.arrays) for one in found[:1]],
    "rescaling": lambda found, options: [rescaling_chart(one, at=options.at) for one in found[:1]],
    "checkup": lambda found, options: [checkup_chart(one, shipped_reference()) for one in found],
    "reversed_triggers": lambda found, options: [triggers_chart(one) for one in found],
    "picture": lambda found, options: [picture_chart(found, pictures()[options.value])],
}
# Charts of one of several values, and which there are.
VALUES: dict[str, Callable[[], Iterable[str]]] = {
    "bars": lambda: BARS,
    "picture": lambda: pictures(),
}
DRAWN_OF: dict[str, str] = {  # chart -> the kind of runs that it is drawn of
    **dict.fromkeys(OF_PURIFICATIONS, PurifySpec.kind),
    **dict.fromkeys(OF_TRAININGS, TrainSpec.kind),
    **dict.fromkeys(OF_MEASUREMENTS, MeasureSpec.kind),
}
LIVE: dict[str, str] = {  # kind of runs -> the chart that moves while one goes on
    PurifySpec.kind: "race",
    TrainSpec.kind: "training",
}


def pictures() -> dict[str, About]:
    """What measurements declare for themselves, by their names."""
    known = catalogue()["measurements"].items()
    return {name: about["picture"] for name, about in known if about["picture"]}


def draw_run(chart: str, spec: Spec, events: Events) -> Chart:
    """The chart named `chart` of a training or a purification. Raises KeyError where it is drawn of
    runs of another kind.
    """
    if isinstance(spec, PurifySpec):
        return OF_PURIFICATIONS[chart](spec, events)
    if isinstance(spec, TrainSpec):
        return OF_TRAININGS[chart](spec, events)
    raise KeyError(chart)


def left_out(outline: Outline) -> str:
    """What curves over the steps of a long run do not show; nothing of a short one."""
    if outline.every == 1:
        return ""
    return f"Of every {outline.every:,} steps the lowest and the highest values are drawn."


def draw_outline(chart: str, spec: Spec, outline: Outline) -> Chart:
    """Like `draw_run`, for a run of any length; says how much of it is drawn when it is not all."""
    made = draw_run(chart, spec, outline)
    said = f"{made.finding} {left_out(outline)}".strip()
    if not outline.whole:
        said = f"Reading a long run, {100 * outline.share:.0f} % so far. {said}"
    return replace(made, finding=said)


def draw(chart: str, found: Found, options: ChartOptions) -> list[Chart]:
    """The chart of measurements named `chart`: one for each of `found`, or a single one for all.
    Raises KeyError.
    """
    charts = OF_MEASUREMENTS[chart](found, options)
    return [made if made.figure["data"] else replace(made, figure=WAITING) for made in charts]


def _each(
    build: Callable[[Sequence[Item]], Chart], series: Sequence[Item], options: ChartOptions
) -> list[Chart]:
    if options.together or len(series) < 2:
        return [build(series)]
    return same_axes([build([item]) for item in series])


def _planes(found: Found, options: ChartOptions) -> list[Chart]:
    def among(item: Measured) -> list[Arrays]:
        """Those on the same images: on others, the losses are of another size."""
        like = [other for other in found if other.values.get("data") == item.values.get("data")]
        return [other.arrays for other in like if "loss" in other.arrays]

    if options.view == "surface" and len(found) > 1:
        planes = [(item, among(item)) for item in found]
        return [scene_chart(planes, log=options.log, which=options.which)]
    return [
        plane_chart(
            item, view=options.view, log=options.log, which=options.which, among=among(item)
        )
        for item in found
    ]
