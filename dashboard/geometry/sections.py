"""The pictures of a minimum: what was measured of each model, side by side on the same axes,
section by section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from urllib.parse import urlencode

import streamlit as st

from analysis import image_kinds
from analysis.measures import MEASURES, found_by
from dashboard.charts.registry import BARS, ChartOptions, draw
from dashboard.charts.spectrum import SMOOTHING
from dashboard.kit import glossary, library, measures, readings
from dashboard.kit.measuring import Side, View
from dashboard.kit.readings import Reading, findings
from dashboard.kit.show import show
from ngf.config import MeasureSpec
from ngf.runs.folder import FINAL
from ngf.runs.store import Run

EVERY_MS = 350  # between two looks at a measurement that goes on
MATRICES = {"hessian": "Hessian of the loss", "fisher": "Fisher of the predictions"}
FOUND_BY = ("hessian_spectrum", "fisher_trace", "sharpness")  # what finds the numbers
WAYS = {"line": "Straight line", "bend": "Trained bend"}
LIMITS = {
    "slice": "A slice is a walk along a few random directions out of tens of thousands; another "
    "valley may be one step away. A network can also be rescaled, layer by layer, so that it "
    "predicts the same and looks sharper or flatter. Look at the spectrum and the numbers before "
    "you believe the picture.",
    "surface": "Two directions out of tens of thousands. Almost all random planes miss the few "
    "steep directions, so a minimum looks rounder here than it is. What looks like one valley may "
    "be two, and what looks like a wall may have a way around it. Another seed gives another "
    "plane: try a few.",
    "spectrum": "The density comes from a few random start vectors and is smoothed; a thin peak "
    "may be missing. The Hessian is that of a few hundred images, not of all data, and it is not "
    "invariant: rescaling a layer changes it although the predictions stay.",
    "fisher_spectrum": "The Fisher information knows nothing of the labels: it says how the "
    "predictions react to the weights, not how the loss does. It equals the curvature of the loss "
    "only where the predictions are right and sure. It changes, too, when a layer is rescaled.",
    "bend": "One trained curve of many. That its loss stays low shows that the two models are "
    "connected; that it does not may only mean that the training of the curve was too short.",
    "numbers": "No single number is the sharpness of a model. Those that change when a layer is "
    "rescaled compare only models of one scale; those that do not may still say nothing about how "
    "well a model generalizes, which is disputed (Andriushchenko et al. 2023).",
    "layers": "The trace adds up all directions, so one very steep direction and many mild ones "
    "look alike. Layers with more weights have more to add up.",
    "line": "A straight line is one path of many. A hill on it does not prove that the two models "
    "lie in different valleys; a curved path may go around it.",
    "rescaling": "That a measure stays here does not make it right: it may react to other changes "
    "that keep the predictions, and one that does not move at all is as useless as one that moves "
    "freely.",
}


def words(limit: str, *terms: str) -> None:
    """What the picture shows, and what it cannot show, each one click away."""
    with st.container(horizontal=True):
        glossary.explain(*terms, label="What this is")
        with st.popover("What this picture cannot tell you", icon=":material/visibility_off:"):
            st.markdown(LIMITS[limit])


def asked(pairs: Sequence[tuple[Side, MeasureSpec]]) -> list[tuple[Side, Run]]:
    """Those that somebody asked for."""
    return [(side, run) for side, item in pairs if (run := library.find(item.id)) is not None]


def address(run: Run, chart: str, beside: Sequence[Run], options: ChartOptions) -> str:
    """The route of the chart: the options that differ from the plain ones are in it."""
    plain = asdict(ChartOptions())
    query = {
        name: int(value) if isinstance(value, bool) else value
        for name, value in asdict(options).items()
        if value != plain[name]
    }
    return f"/api/runs/{run.id}/charts/{chart}?" + urlencode(
        {"beside": ",".join(one.id for one in beside), **query}
    )


def beside(
    chart: str,
    pairs: Sequence[tuple[Side, Run]],
    key: str,
    name: str,
    *,
    options: Sequence[ChartOptions] = (),
    height: int = 320,
    link: str | None = None,
) -> list:
    """One chart per model, in columns and on the same axes, or one for all. Returns the columns.

    Charts of measurements that go on ask for news themselves, so that no script has to run for each
    point.
    """
    if not pairs:
        return []
    runs = [run for _, run in pairs]
    options = options or [ChartOptions()] * len(pairs)
    found = findings(runs)
    going = any(run.status not in FINAL for run in runs)
    first = draw(chart, found, options[0])
    single = len(first) < 2
    columns = [st.container()] if single else list(st.columns(len(pairs)))
    for i, (column, (side, run)) in enumerate(zip(columns, pairs, strict=False)):
        made = first[i] if options[i] == options[0] else draw(chart, found, options[i])[i]
        with column:
            if not single:
                st.markdown(f"**{side.subject.title}**")
            show(
                made,
                key if single else f"{key}.{side.subject.title}",
                name=name if single else f"{name}, {side.subject.title.lower()}",
                height=height,
                link=link,
                every_ms=EVERY_MS,
                url=address(run, chart, runs, options[i]) if going else None,
            )
    return columns


def facts(pairs: Sequence[tuple[Side, Run]], more: str = "", images: bool = True) -> None:
    """What the numbers are of: data, n, seed, BatchNorm mode; what is partial, and what the
    measurement notes.
    """
    found = [(side, reading) for side, run in pairs if (reading := readings.read(run)) is not None]
    if not found:
        return
    values = found[0][1].values
    mode = {"eval": "BatchNorm in eval mode (stored averages)"}.get(values.get("batch_norm"), "")
    parts = [
        image_kinds.title(values.get("data")) if images else "",
        f"n = {values['n']:,}" if values.get("n") else "",
        f"seed {values['seed']}" if values.get("seed") is not None else "",
        mode,
        more,
    ]
    st.caption("*Measured*: " + " · ".join(part for part in parts if part) + ".")
    _notes(found)


def _notes(found: Sequence[tuple[Side, Reading]]) -> None:
    partial = list(dict.fromkeys(side.subject.phrase for side, reading in found if reading.partial))
    if partial:
        st.warning(
            f"Partial: the measurement of {' and of '.join(partial)} was stopped "
            "before it was complete. What it had found by then is shown.",
            icon=":material/incomplete_circle:",
        )
    for note in dict.fromkeys(
        str(reading.values["note"]) for _, reading in found if reading.values.get("note")
    ):
        st.caption(f":material/info: {library.plain(note)}")


class Minimum:
    """The sections of the page over one view; each says whether somebody asked for its
    measurements.
    """

    def __init__(self, view: View):
        self.view = view

    def asked(self, name: str) -> list[tuple[Side, Run]]:
        return asked(self.view.specs(name))

    def slices(self) -> bool:
        pairs = self.asked("loss_slice")
        beside(
            "slices",
            pairs,
            "geometry.slice",
            "loss slice",
            options=[ChartOptions(together=self.view.overlaid)] * len(pairs),
        )
        if pairs:
            facts(pairs, "random directions, scaled filter by filter; the band is their spread")
            words("slice", "slice", "batchnorm")
        return bool(pairs)

    def spectrum(self) -> bool:
        st.segmented_control(
            "Spectrum of",
            list(MATRICES),
            key="geometry.matrix",
            required=True,
            format_func=MATRICES.get,
            label_visibility="collapsed",
        )
        pairs = self.asked(f"{self.view.matrix}_spectrum")
        beside(
            "spectra",
            pairs,
            f"geometry.spectrum.{self.view.matrix}",
            f"{self.view.matrix.capitalize()} spectrum",
            options=[ChartOptions(together=self.view.overlaid)] * len(pairs),
        )
        if pairs:
            facts(pairs, f"smoothed by {100 * SMOOTHING:g} % of the range")
            words(
                "spectrum" if self.view.matrix == "hessian" else "fisher_spectrum",
                "spectrum",
                "outliers",
                "lambda_max",
                "fisher",
            )
        return bool(pairs)

    def numbers(self) -> bool:
        groups = {
            value: self.asked(name)
            for name in FOUND_BY
            for value in [measure.name for measure in found_by(name)]
            if value in BARS
        }
        groups = {value: pairs for value, pairs in groups.items() if pairs}
        if not groups:
            return False
        columns = [
            column for _ in range(0, len(groups), 2) for column in st.columns(2)
        ]  # narrower, bars say nothing
        for column, (value, pairs) in zip(columns, groups.items(), strict=False):
            with column:
                beside(
                    "bars",
                    pairs,
                    f"geometry.bars.{value}",
                    MEASURES[value].symbol,
                    options=[ChartOptions(value=value)] * len(pairs),
                    height=130 + 36 * len(pairs),
                )
        pairs = [pair for name in FOUND_BY for pair in self.asked(name)]
        going = any(run.status not in FINAL for _, run in pairs)
        (st.fragment(self._table, run_every=2) if going else self._table)()
        facts(
            pairs,
            "error bars: a bound for eigenvalues, one standard error for estimates; none where "
            "the digits shown are certain",
        )
        words("numbers", "lambda_max", "trace", "fisher", "filter_lambda_max")
        return True

    def _table(self) -> None:
        """All measures of all models; those that are not known yet are left out."""
        columns = []
        for side in self.view.sides:
            values = {}
            for name in FOUND_BY:
                own = {key for measure in found_by(name) for key in (measure.name, measure.error)}
                for other, run in self.asked(name):
                    reading = readings.read(run) if other == side else None
                    values |= {
                        key: value
                        for key, value in (reading.values if reading else {}).items()
                        if key in own
                    }
            if values:
                columns.append((side.subject.title, values))
        if columns:
            st.table(measures.table(columns).set_index("Measure"))

    def layers(self) -> bool:
        known = {"fisher_trace": "Fisher trace, Tr(F)", "hessian_spectrum": "Hessian trace, Tr(H)"}
        found = {name: pairs for name in known if (pairs := self.asked(name))}
        if not found:
            return False
        name = (
            st.segmented_control(
                "Trace of",
                list(found),
                key="geometry.trace",
                required=True,
                format_func=known.get,
                default=next(iter(found)),
                label_visibility="collapsed",
            )
            if len(found) > 1
            else next(iter(found))
        )
        pairs = found[name]
        count = max(
            (len(item.arrays.get("layers", ())) for item in findings([run for _, run in pairs])),
            default=0,
        )
        beside(
            "layer_traces",
            pairs,
            f"geometry.layers.{name}",
            f"{known[name]} by layer",
            height=140 + (16 + 12 * len(pairs)) * max(6, count),
        )
        facts(pairs, "error bars: standard errors")
        words("layers", "fisher" if name == "fisher_trace" else "trace")
        return True

    def way(self) -> bool:
        """The straight line between the models, or a trained bend."""
        st.segmented_control(
            "Way",
            list(WAYS),
            key="geometry.way",
            required=True,
            format_func=WAYS.get,
            label_visibility="collapsed",
        )
        if self.view.way == "bend":
            pairs = self.asked("loss_bend")
            beside("bends", pairs, "geometry.bend", "bend between the models", height=380)
            if pairs:
                facts(
                    pairs,
                    "0 is the model before, 1 the model after; the bend is trained on these images",
                )
                words("bend", "line")
            return bool(pairs)
        pairs = self.asked("loss_line")
        beside("lines", pairs, "geometry.line", "line between the models", height=380)
        if pairs:
            facts(
                pairs,
                "0 is the model before, 1 the model after; the band is two standard errors",
                images=False,
            )
            words("line", "line")
        return bool(pairs)
