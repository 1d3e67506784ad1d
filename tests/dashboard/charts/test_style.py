"""One color and one shape per thing, wherever it is drawn, and how numbers are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from analysis.image_kinds import KINDS
from dashboard.charts import style
from dashboard.charts.bars import Bar, measure_bars
from dashboard.charts.evidence import SUBJECTS, marks
from dashboard.charts.frontier import frontier_chart
from dashboard.charts.layers import layer_chart
from dashboard.charts.loss_line import line_chart
from dashboard.charts.loss_slice import Walk, slice_chart
from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.rates import RATES
from dashboard.charts.rescaling import rescaling_chart
from dashboard.charts.spectrum import Spectrum, spectrum_chart
from dashboard.charts.style import (
    GRAY,
    IMAGES,
    METHODS,
    MODELS,
    SPARE,
    lane_mark,
    lane_marks,
    listed,
    number,
    with_error,
)
from dashboard.charts.subject import BACKDOORED, Measured, Subject
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec
from tests.helpers.made_up_charts import NGF
from tests.helpers.run_folders import TRAIN, race_events

TABLE = [*METHODS.values(), *MODELS.values(), *IMAGES.values(), *SPARE]
BACKGROUNDS = ("#FFFFFF", "#0B0F13")  # of dashboard/server/streamlit.toml


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_color_stands_out_on_both_backgrounds(background: str) -> None:
    for color in (*(mark.color for mark in TABLE), GRAY):
        low, high = sorted((luminance(color), luminance(background)))
        assert (high + 0.05) / (low + 0.05) >= 3, color


def test_no_two_things_share_a_color_or_a_shape() -> None:
    for part in ("color", "symbol", "glyph"):
        values = [getattr(mark, part) for mark in TABLE]
        assert len(set(values)) == len(values), part
    assert GRAY not in {mark.color for mark in TABLE}
    assert set(IMAGES) == set(KINDS)
    dashes = [mark.dash for mark in IMAGES.values()]
    assert len(set(dashes)) == len(dashes)
    assert [rate.mark.symbol for rate in RATES] == ["circle", "triangle-up", "square"]


def walk(subject: Subject, images: str = "clean") -> Walk:
    return Walk(subject, images, [0.0, 0.5, 1.0], [0.1, 1.0, 2.0], [0.1, 0.9, 1.8], [0.1, 1.1, 2.2])


def colors_in(value: Any) -> Iterator[str]:
    """All colors that a figure gives to lines and marks."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("color", "arrowcolor") and isinstance(item, str):
                yield item
            else:
                yield from colors_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from colors_in(item)


def test_charts_take_their_colors_and_shapes_from_the_table() -> None:
    lanes = tuple(METHODS)
    race = PurifySpec(parent=TRAIN.id, lanes=tuple(map(Choice, lanes)))
    steps = [event for event in race_events() if event["lane"] == "ngf"]
    events = [{**event, "lane": lane} for event in steps for lane in lanes]
    subjects = (BACKDOORED, *(Subject("purified", lane) for lane in lanes))
    by_lane = [METHODS[lane] for lane in lanes]
    by_subject = [MODELS["backdoored"], *by_lane]
    point = {"how": "sweep", "strength": 0.1, "seed": 0, "ca": 0.9, "asr": 0.5}
    points = [point | {"method": lane} for lane in lanes]
    scores = [{"type": "layer", "lane": lane, "layer": "x", "score": 1.0} for lane in lanes]
    spectra = [Spectrum(who, [0.0, 1.0], [1.0, 0.5], [1.0], lambda_max=1.0) for who in subjects]
    drawn = {
        "race": (race_chart(race, events), [mark for mark in by_lane for _ in RATES]),
        "internals": (internals_chart(race, events), 2 * by_lane),
        "frontier": (frontier_chart(points), by_lane),
        "layers": (layer_chart(scores), by_lane),
        "slices": (slice_chart([walk(who) for who in subjects]), by_subject),
        "spectra": (spectrum_chart(spectra), by_subject),
        "bars": (measure_bars([Bar(who, "λmax", 1.0) for who in subjects]), by_subject),
        "lines": (line_chart([walk(NGF, kind) for kind in IMAGES]), list(IMAGES.values())),
    }
    known = {mark.color for mark in TABLE} | {GRAY}
    for name, (chart, wanted) in drawn.items():
        traces = [
            trace
            for trace in chart.figure["data"]
            if trace.get("fill") != "toself" and "Ritz" not in trace["name"]
        ]
        found = [(trace.get("line") or trace["marker"])["color"] for trace in traces]
        found = [color[0] if isinstance(color, list) else color for color in found]
        assert found == [mark.color for mark in wanted], name
        shown = set(colors_in(chart.figure["data"]))
        assert {color for color in shown if color.startswith("#")} <= known, name
    evidence = marks({("badnets", name): [1.0] for name in SUBJECTS}, {"badnets": "BadNets"}, str)
    for trace, subject in zip(evidence, SUBJECTS.values(), strict=True):
        assert trace["marker"]["color"] == subject.mark.color
        assert trace["marker"]["symbol"] == subject.mark.symbol
    frontier = drawn["frontier"][0].figure["data"]
    assert [trace["marker"]["symbol"] for trace in frontier] == [mark.symbol for mark in by_lane]
    arrays = {name: np.ones(3) for name in ("lambda_max", "trace", "max_change")}
    rescaled = rescaling_chart(Measured(NGF, {}, arrays | {"factor": np.array([0.1, 1.0, 10.0])}))
    assert {trace["line"]["color"] for trace in rescaled.figure["data"]} == {NGF.mark.color}


def test_lanes_nobody_has_listed_get_a_color_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = ["ngf", "sgd", "sgd-2", "adam", "ngf_as_released", "brand_new", "newer"]
    known = catalogue()
    defenses = known["defenses"] | {"brand_new": {"short": "New (1)"}, "newer": {"short": "N"}}
    monkeypatch.setattr(style, "catalogue", lambda: {**known, "defenses": defenses})
    found = lane_marks(lanes)
    assert len({mark.color for mark in found.values()}) == len(lanes)
    assert all(found[lane] == METHODS[lane] for lane in lanes if lane in METHODS)
    for lane in ("brand_new", "newer"):
        assert Subject("purified", lane).mark == found[lane] == lane_marks([lane])[lane]
    many = lane_marks([f"idea-{i}" for i in range(30)])
    assert len(many) == 30 and len(set(many.values())) == len(SPARE)


def test_every_defense_has_a_mark_of_its_own() -> None:
    found = {name: lane_mark(name) for name in catalogue()["defenses"]}
    assert len(set(found.values())) == min(len(found), len(METHODS) + len(SPARE))


def test_words() -> None:
    assert [number(value) for value in (0, 0.01234, 3.14159, 411.6, 12345, 4.5e-7, 2.5e7)] == [
        "0",
        "0.0123",
        "3.14",
        "412",
        "12,300",
        "4.50e−7",
        "2.50e7",
    ]
    assert [
        with_error(value, error)
        for value, error in (
            (11.123, 0.0653),
            (24.0812, 5.6e-5),
            (238.04, 3.2),
            (7, None),
            (0.0, 0.1),
            (-2.5, 1e-9),
            (3e7, 1.0),
        )
    ] == ["11.1 ± 0.065", "24.1", "238 ± 3.2", "7", "0 ± 0.1", "−2.5", "3.00e7 ± 1"]
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert listed([], "nothing") == "nothing"
