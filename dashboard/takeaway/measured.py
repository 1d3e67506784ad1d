"""What was measured of the models of a run, drawn for its report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from analysis.image_kinds import title as images_title
from analysis.measures import found_by
from analysis.reactivation_words import CANNOT
from analysis.verdict import DETECTORS, shipped_reference, verdict
from dashboard.charts.along_run import curvature_chart
from dashboard.charts.chart import NOTHING, Chart
from dashboard.charts.checkup import COLUMNS, MOST, beyond, checkup_chart, triggers_chart
from dashboard.charts.registry import ChartOptions, draw, pictures
from dashboard.charts.style import with_error
from dashboard.charts.subject import Measured
from dashboard.charts.titles import title
from dashboard.kit import measuring, readings
from dashboard.takeaway.judged import rows, sentences
from ngf import places
from ngf.config import MeasureSpec, Target
from ngf.runs.folder import SPEC
from ngf.runs.store import MeasureRun, PurifyRun, Run, Store

# measurement -> its chart, and what that cannot tell
_DRAWN = {
    "loss_slice": (
        "slices",
        "A slice is a walk along one or a few directions out of tens of thousands.",
    ),
    "loss_plane": (
        "planes",
        "A plane shows two directions out of tens of thousands; what looks like a wall may have a "
        "way around it.",
    ),
    "loss_line": (
        "lines",
        "A straight line is one path of many: a hill on it does not prove two valleys.",
    ),
    "loss_bend": ("bends", "A trained curve is one of many, and its training may be too short."),
    "hessian_spectrum": (
        "spectra",
        "The spectrum is that of some hundred images; rescaling a layer changes it although every "
        "prediction stays.",
    ),
    "fisher_spectrum": ("spectra", "The spectrum is that of some hundred images."),
    "fisher_trace": (
        "layer_traces",
        "A trace adds up all directions: one steep direction and many mild ones look alike.",
    ),
    "along_run": (
        "",
        "Only the steps whose weights were kept are measured, and on clean images a backdoor need "
        "not show.",
    ),
    "checkup": (
        "checkup",
        "It compares with models that were trained in one way, and some attacks leave no trace in "
        "any of its numbers.",
    ),
    "yardstick": (
        "",
        "It cannot show that an unknown trigger of another kind is gone.",
    ),
    "reactivation": ("picture", CANNOT),
    "rescaling": ("rescaling", "Only one layer is rescaled here; others would do as well."),
}
_HEIGHT, _DETECTOR, _TRIGGERS = 360, 52, 120  # pixels: a chart, a row of either kind of checkup
_NUMBERS = "No single number is the sharpness of a model, and whether any tells how well a model "
_NUMBERS += "generalizes is disputed."


@dataclass(frozen=True)
class Section:
    """One measurement on the models of a run.

    of: what the numbers are of: images, n, seed. said: what they say, in sentences. charts: with
    what stands above each; heights: theirs, in pixels. table: rows of numbers, with one column a
    model. cannot: what this cannot tell. partial: names of models whose measurement has not ended
    well.
    """

    heading: str
    of: str
    said: Sequence[str]
    charts: Sequence[tuple[str, Chart]]
    heights: Sequence[int]
    table: Sequence[dict[str, str]]
    cannot: str
    runs: Sequence[MeasureRun]
    partial: Sequence[str]


def sections(run: Run) -> list[Section]:
    """What was measured of the models of `run`, and of those beside them, in the order in which
    pages show it.
    """
    if isinstance(run, MeasureRun):
        return [_section([run])]
    found = measurements_of(run.store, _targets(run))
    groups: dict[str, list[MeasureRun]] = {}
    for one in found:
        groups.setdefault(_alike(one.spec), []).append(one)
    order = list(_DRAWN)
    made = sorted(
        groups.values(),
        key=lambda runs: (
            order.index(name) if (name := runs[0].spec.measurement.name) in order else len(order)
        ),
    )
    return [section for runs in made if (section := _section(runs)).charts or section.table]


def measurements_of(store: Store, targets: Sequence[str]) -> list[MeasureRun]:
    """Measurements of these models that have found something, in the order of the models; those
    that ship are among them.
    """
    own = [run for run in store.runs() if isinstance(run, MeasureRun)]
    known = {run.id for run in own}
    shipped = [
        run
        for path in sorted(places.MEASUREMENTS.glob(f"*/{SPEC}"))
        if path.parent.name not in known
        and isinstance(run := store.find(path.parent.name), MeasureRun)
    ]
    there = [
        run
        for run in [*own, *shipped]
        if run.spec.target in targets
        and run.spec.measurement.name != "trigger_probe"  # of a drawing, not of the model
        and readings.read(run) is not None
    ]
    return sorted(there, key=lambda run: (targets.index(run.spec.target), run.id))


def _targets(run: Run) -> list[str]:
    """The models to compare: benign, before, after each lane."""
    if not isinstance(run, PurifyRun):
        return [run.id]
    benign = measuring.benign(run)
    lanes = [str(Target(run.id, lane)) for lane in run.spec.lane_names()]
    return [*([benign.id] if benign else []), run.spec.parent, *lanes]


def _alike(spec: MeasureSpec) -> str:
    """What measurements share that are drawn together: all but the model; of lines also the
    images, of which one picture shows several kinds.
    """
    options = dict(spec.measurement.options)
    if spec.measurement.name == "loss_line":
        options.pop("data", None)
    return json.dumps([spec.measurement.name, spec.seed, options], sort_keys=True)


def _section(runs: Sequence[MeasureRun]) -> Section:
    spec = runs[0].spec
    name = spec.measurement.name
    chart, cannot = _DRAWN.get(name, ("picture" if name in pictures() else "", _NUMBERS))
    found = readings.findings(runs)
    options = ChartOptions(together=True, value=name)
    charts = draw(chart, found, options) if chart else _along(runs)
    heights = [_HEIGHT] * len(charts)
    if name == "checkup":
        charts, heights = _of_checkups(found)
    training = runs[0].training()
    classes = ((training.result or {}).get("facts") or {}).get("classes", []) if training else []
    drawn = [i for i, made in enumerate(charts) if made.finding != NOTHING]
    titles = [one.subject.title for one in found] if len(charts) == len(runs) > 1 else []
    return Section(
        heading=title("measurements", name),
        of=_of(runs),
        said=sentences(name, found, classes),
        charts=[(titles[i] if titles else "", charts[i]) for i in drawn],
        heights=[heights[i] for i in drawn],
        table=rows(name, found) or list(_table(name, runs)),
        cannot=cannot,
        runs=runs,
        partial=[
            reading.measured.subject.title
            for run in runs
            if (reading := readings.read(run)) and (reading.partial or run.status != "done")
        ],
    )


def _of_checkups(found: Sequence[Measured]) -> tuple[list[Chart], list[int]]:
    """Detectors and reversed triggers of each model, and how high they are."""
    reference = shipped_reference()
    charts, heights = [], []
    for one in found:
        chart = checkup_chart(one, reference)
        if chart.finding != NOTHING:
            chart = replace(chart, finding=beyond(verdict(one.values, reference)))
        rows = math.ceil(min(len(one.arrays.get("masks", ())), MOST) / COLUMNS)
        charts += [chart, triggers_chart(one)]
        heights += [_DETECTOR * len(DETECTORS) + 90, _TRIGGERS * rows + 20]
    return charts, heights


def _along(runs: Sequence[MeasureRun]) -> list[Chart]:
    """The chart of curvature along a race, of the measurements of its lanes; none of others."""
    race = runs[0].ancestor()
    if runs[0].spec.measurement.name != "along_run" or not isinstance(race, PurifyRun):
        return []
    lanes = {
        Target.parse(run.spec.target).lane: reading.arrays
        for run in runs
        if (reading := readings.read(run)) is not None
    }
    return [curvature_chart(race.spec, race.outline(), lanes)]


def _of(runs: Sequence[MeasureRun]) -> str:
    """`clean test images · n = 512 · seed 0 · BatchNorm in eval mode`"""
    found = readings.read(runs[0])
    known = found.values if found else {}
    kinds = dict.fromkeys(
        images_title(reading.values["data"])
        for run in runs
        if (reading := readings.read(run)) and reading.values.get("data")
    )
    parts = [
        ", ".join(kinds),
        f"n = {known['n']:,}" if isinstance(known.get("n"), int) else "",
        f"seed {runs[0].spec.seed}",
        "BatchNorm in eval mode (stored averages)" if known.get("batch_norm") == "eval" else "",
    ]
    return " · ".join(filter(None, parts))


def _table(name: str, runs: Sequence[MeasureRun]) -> Iterator[dict[str, str]]:
    """A row for each measure that the measurement finds, and a column for each model."""
    found = [reading for run in runs if (reading := readings.read(run)) is not None]
    for measure in found_by(name):
        cells = {
            reading.measured.subject.title: with_error(
                reading.values[measure.name], reading.values.get(measure.error)
            )
            for reading in found
            if reading.values.get(measure.name) is not None
        }
        if cells:
            yield {"Measure": measure.title, **cells, "Unchanged by": measure.unchanged_by}
