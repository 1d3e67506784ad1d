"""What a section of the page is, and the parts that sections share: charts side by side, what the
numbers are of, what a picture cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis import image_kinds
from analysis.measures import Measure
from dashboard.charts.registry import ChartOptions, draw
from dashboard.charts.style import with_error
from dashboard.charts.titles import told_apart
from dashboard.kit import glossary, library, readings
from dashboard.kit.measuring import Side, View
from dashboard.kit.readings import Reading, findings
from dashboard.kit.show import show
from ngf.catalogue import options_of
from ngf.config import MeasureSpec
from ngf.runs.folder import FINAL
from ngf.runs.store import MeasureRun, Run

EVERY_MS = 350  # between two looks at a measurement that goes on
Pairs = Sequence[tuple[Side, MeasureRun]]  # each model with the run that measures it


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the page.

    question: what it answers, below its heading.
    needs: names of the measurements that it is drawn of, under a view.
    draw: draws them, and says whether somebody asked for any.
    switched: whether it has a choice above its picture, which has to stand there before anything is
        measured.
    """

    heading: str
    question: str
    needs: Callable[[View], tuple[str, ...]]
    draw: Callable[[View], bool]
    switched: bool = False


def submitted(pairs: Sequence[tuple[Side, MeasureSpec]]) -> list[tuple[Side, MeasureRun]]:
    """Those whose run is there, in whatever state."""
    found = [(side, library.find_measurement(item.id)) for side, item in pairs]
    return [(side, run) for side, run in found if run is not None]


def beside(
    chart: str,
    pairs: Pairs,
    key: str,
    name: str,
    *,
    options: Sequence[ChartOptions] = (),
    height: int = 320,
    link: str | None = None,
) -> list[DeltaGenerator]:
    """One chart per model, in columns and on the same axes, or one for all. Returns the columns.

    Charts of measurements that go on ask for news themselves, so that no script has to run for each
    point.

    options: one for each of `pairs`.
    """
    if not pairs:
        return []
    runs = [run for _, run in pairs]
    options = options or [ChartOptions()] * len(pairs)
    found = findings(runs)
    going = any(run.status not in FINAL for run in runs)
    drawn = {one: draw(chart, found, one) for one in dict.fromkeys(options)}
    single = len(drawn[options[0]]) < 2
    columns = [st.container()] if single else list(st.columns(len(pairs)))
    titles = titles_of(pairs)
    for i, (column, (side, run)) in enumerate(zip(columns, pairs, strict=False)):
        with column:
            if not single:
                st.markdown(f"**{titles[i]}**")
            show(
                drawn[options[i]][i],
                key if single else f"{key}.{titles[i]}",
                name=name if single else f"{name} of {side.subject.phrase}, {titles[i]}",
                of=runs if single else [run],
                height=height,
                link=link,
                every_ms=EVERY_MS,
                url=_address(run, chart, runs, options[i]) if going else None,
            )
    return columns


def titles_of(pairs: Pairs) -> Sequence[str]:
    """What stands above the picture of each: its model, or its images where the model is one."""
    return told_apart([side.subject.title for side, _ in pairs], [_images(run) for _, run in pairs])


def _images(run: MeasureRun) -> str:
    about = options_of("measurements", run.spec.measurement)
    return image_kinds.title(about["data"])


def _address(run: Run, chart: str, beside: Sequence[Run], options: ChartOptions) -> str:
    """The route of the chart, relative to the page, with the options that differ from the plain
    ones.
    """
    plain = asdict(ChartOptions())
    query = {
        name: int(value) if isinstance(value, bool) else value
        for name, value in asdict(options).items()
        if value != plain[name]
    }
    return f"api/runs/{run.id}/charts/{chart}?" + urlencode(
        {"beside": ",".join(one.id for one in beside), **query}
    )


def measured_on(pairs: Pairs, more: str = "", *, images: bool = True) -> None:
    """What the numbers are of: data, n, seed, BatchNorm mode; what is partial, and what the
    measurement notes.

    more: what else a reader has to know.
    images: whether all of `pairs` are on the same images, which are then named.
    """
    found = [(side, reading) for side, run in pairs if (reading := readings.read(run)) is not None]
    if not found:
        return
    values = found[0][1].values
    parts = [
        image_kinds.title(values["data"]) if images and values.get("data") else "",
        f"n = {values['n']:,}" if values.get("n") else "",
        library.plain(f"seed {values['seed']}") if values.get("seed") is not None else "",
        "BatchNorm in eval mode (stored averages)" if values.get("batch_norm") == "eval" else "",
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


def in_words(values: Mapping[str, Any], measure: Measure, digits: int = 3) -> str:
    """A measure with its error, such as `11.1 ± 0.065`; a dash where it is not known."""
    if values.get(measure.name) is None:
        return "–"
    return with_error(values[measure.name], values.get(measure.error), digits)


def explain(cannot: str, *terms: str) -> None:
    """What the picture shows, by the glossary, and what it cannot show, each one click away."""
    with st.container(horizontal=True):
        if terms:
            glossary.explain(*terms, label="What this is")
        with st.popover("What this picture cannot tell you", icon=":material/visibility_off:"):
            st.markdown(cannot)


def switch(name: str, choices: dict[str, str]) -> None:
    """What stands above a picture to choose between two; the page's view holds the choice."""
    st.segmented_control(
        name.capitalize(),
        list(choices),
        key=f"geometry.{name}",
        required=True,
        format_func=choices.__getitem__,
        label_visibility="collapsed",
    )
