"""The rows of a sweep as a chart takes them: axes, what can be drawn, points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.measures import MEASURES
from dashboard.charts.style import Mark, lane_marks
from dashboard.charts.sweep import NONE, Axis, Look, Point, Quantity
from dashboard.charts.titles import lane_title
from dashboard.sweeps.fields import place_of, title_of, word_of
from ngf.sweeps.spec import SweepSpec

LANE = "lane"  # an axis of its own, where runs have several lanes
Row = Mapping[str, Any]  # of `ngf.sweeps.folder.Seen.rows`
OF_MODELS = {
    "asr": Quantity("Attack success rate", share=True, least=0.0, most=1.0),
    "ca": Quantity("Clean accuracy", share=True, least=0.0, most=1.0),
    "ra": Quantity("Robust accuracy", share=True, least=0.0, most=1.0),
    "der": Quantity("Defense effectiveness", share=True, least=0.0, most=1.0),
    "ca_lost": Quantity("Clean accuracy lost", share=True, least=-1.0, most=1.0),
    "seconds": Quantity("Seconds of computing", least=0.0),
}
_OF_TRAININGS = ("asr", "ca", "ra", "seconds")
_SETTINGS = ("n", "seed")  # among the values of a measurement: what it was made with


def axes_of(spec: SweepSpec, rows: Sequence[Row]) -> dict[str, Axis]:
    """The axes by their paths, and the lanes where a run has several."""
    titles = _apart([title_of(spec.base, path) for path in spec.axes])
    found = {
        path: _axis(spec, path, title, values)
        for title, (path, values) in zip(titles, spec.axes.items(), strict=True)
    }
    lanes = tuple(dict.fromkeys(row["lane"] for row in rows if row["lane"]))
    per_run: dict[str, set[str]] = {}
    for row in rows:
        per_run.setdefault(row["run"], set()).add(row["lane"])
    if any(len(own) > 1 for own in per_run.values()):
        words = tuple(map(lane_title, lanes))
        marks = tuple(lane_marks(lanes).values())
        found[LANE] = Axis("Lane", lanes, words, "purification", marks)
    return found


def _axis(spec: SweepSpec, path: str, title: str, values: tuple[Any, ...]) -> Axis:
    place = place_of(spec.base, path)
    words = _apart([word_of(spec.base, path, value) for value in values])
    marks: tuple[Mark, ...] = ()
    if place.plugins == "defenses" and not place.option and all(isinstance(v, str) for v in values):
        marks = tuple(lane_marks(values).values())
    return Axis(title, values, words, place.stage, marks)


def _apart(words: Sequence[str]) -> tuple[str, ...]:
    """Equal words get their place behind them."""
    return tuple(
        word if words.count(word) == 1 else f"{word} ({place})"
        for place, word in enumerate(words, start=1)
    )


def quantities_of(spec: SweepSpec, rows: Sequence[Row]) -> dict[str, Quantity]:
    """What can be drawn up: rates, or what a measurement has found so far, the known measures
    first.
    """
    kind = spec.base.get("kind")
    if kind == "train":
        return {name: OF_MODELS[name] for name in _OF_TRAININGS}
    if kind != "measure":
        return dict(OF_MODELS)
    names = {name for row in rows for name in row["readings"]} - set(_SETTINGS)
    known = [name for name in MEASURES if name in names]
    others = sorted(names - set(known) - {"seconds"})
    return {
        **{name: Quantity(MEASURES[name].title) for name in known},
        **{name: Quantity(_words(name)) for name in others},
        "seconds": OF_MODELS["seconds"],
    }


def _words(name: str) -> str:
    """The name of a value; it comes from the folder of a run, where anybody may have written."""
    return re.sub(r"[^\w -]", "?", name.replace("_", " "))[:60].capitalize()


def points_of(
    rows: Iterable[Row], axes: Mapping[str, Axis], quantity: str, held: Mapping[str, int]
) -> list[Point]:
    """What is known of a quantity, of the rows at these places of the axes in `held`."""
    places = {
        name: {repr(value): i for i, value in enumerate(a.values)} for name, a in axes.items()
    }
    found = []
    for row in rows:
        if (value := number_of(row, quantity)) is None:
            continue
        at = {name: of.get(repr(value_of(row, name))) for name, of in places.items()}
        known = {name: place for name, place in at.items() if place is not None}
        if known == at and all(at[name] == place for name, place in held.items()):
            run = f"{row['run']}:{row['lane']}" if row["lane"] else row["run"]
            found.append(Point(known, value, run))
    return found


def number_of(row: Row, quantity: str) -> float | None:
    value = row["readings"].get(quantity, row.get(quantity))
    return None if value is None else float(value)


def value_of(row: Row, axis: str) -> Any:
    """What was asked for on an axis."""
    return row["lane"] if axis == LANE else row["values"].get(axis)


def usual_look(axes: Mapping[str, Axis]) -> Look:
    """Numbers across, defenses as colors, attacks or models as panels, the mean over seeds."""
    many = [name for name, axis in axes.items() if len(axis.values) > 1]
    seeds = [name for name in axes if name.rpartition(".")[2] == "seed"]
    over = tuple(name for name in many if name in seeds)
    rest = [name for name in many if name not in seeds]
    if not rest:  # one value of all else, if there is anything else
        x = next((name for name in axes if name not in seeds), next(iter(axes)))
        return Look(x, over=tuple(name for name in over if name != x))
    x = max(rest, key=lambda name: (axes[name].numeric, len(axes[name].values)))
    rest.remove(x)
    color = next((name for name in rest if axes[name].marks), rest[0] if rest else NONE)
    panel = next((name for name in rest if name != color), NONE)
    return Look(x, color, panel, over)


def held_of(axes: Mapping[str, Axis], look: Look) -> list[str]:
    """The axes that a chart shows one value of: those neither shown nor averaged over."""
    return [
        name
        for name, axis in axes.items()
        if name not in (*look.shown, *look.over) and len(axis.values) > 1
    ]
