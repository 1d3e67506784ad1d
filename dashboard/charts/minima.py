"""One measure of sharpness against the clean loss, model by model: what "at the same clean loss"
means, at one look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.ratios import Row, interval, rests_on, side
from dashboard.charts.style import GRAY, Trace, base_layout, escape, number
from dashboard.charts.subject import BACKDOORED, BENIGN, Subject
from dashboard.charts.titles import short

PURIFIED = Subject("purified", "ngf")
ON_THE_WAY = "Benign, on the way of its training"


def minima_chart(
    models: Sequence[Row],
    purified: Sequence[Row],
    along: Sequence[Row],
    effects: Sequence[Row],
    measure: str,
    title: str,
) -> Chart:
    """A mark per model, a gray line per benign training.

    models: {attack, seed, kind, step, loss, <measure>}, kind `final` or `checkpoint`.
    purified: {attack, seed, purification_seed, loss, <measure>}, by NGF.
    along: {step, loss, <measure>}: geometric means on the way of NGF.
    effects: those of this measure against benign models, over all attacks.
    """
    models = [row for row in models if measure in row]
    purified = _means([row for row in purified if measure in row], measure)
    way = sorted(
        (row for row in models if row["attack"] == "none"),
        key=lambda row: (row["seed"], row["step"]),
    )
    final = [row for row in models if row["kind"] == "final"]
    traces = [
        _ways(way, measure),
        _marks(BENIGN, [row for row in final if row["attack"] == "none"], measure),
        _marks(BACKDOORED, [row for row in final if row["attack"] != "none"], measure),
        _marks(PURIFIED, purified, measure),
        _path([row for row in along if measure in row], measure),
    ]
    layout = base_layout(
        "Clean loss (nats, logarithmic)",
        f"{escape(title)} (logarithmic)",
        showlegend=True,
        xaxis={"type": "log", "dtick": "D2", "exponentformat": "none"},
        yaxis={"type": "log", "dtick": "D2", "exponentformat": "none"},
    )
    table = [
        {
            "Model": _called(row),
            "Attack": "" if row["attack"] == "none" else short("attacks", row["attack"]),
            "Seed": row["seed"],
            "Epoch": row.get("step"),
            "Clean loss": row["loss"],
            title: row[measure],
        }
        for row in (*final, *(row for row in way if row["kind"] != "final"), *purified)
    ]
    drawn = [trace for trace in traces if trace["x"]]
    return make_chart(drawn, layout, table, _finding(effects, title))


def _called(row: Row) -> str:
    if "purification_seed" in row:
        return PURIFIED.title
    if row["attack"] != "none":
        return BACKDOORED.title
    return BENIGN.title if row["kind"] == "final" else ON_THE_WAY


def _means(rows: Sequence[Row], measure: str) -> list[dict[str, Any]]:
    """One row per model: geometric means over its purification seeds."""

    def key(row: Row) -> tuple[str, int]:
        return row["attack"], row["seed"]

    out = []
    for (attack, seed), group in groupby(sorted(rows, key=key), key):
        of = list(group)
        means = {
            name: math.exp(sum(math.log(row[name]) for row in of) / len(of))
            for name in ("loss", measure)
        }
        out.append({"attack": attack, "seed": seed, "purification_seed": len(of), **means})
    return out


def _ways(rows: Sequence[Row], measure: str) -> Trace:
    """One line per training, with gaps between them."""
    x: list[float | None] = []
    y: list[float | None] = []
    told: list[str] = []
    for seed, group in groupby(rows, lambda row: row["seed"]):
        of = list(group)
        if len(of) < 2:
            continue
        x += [*(row["loss"] for row in of), None]
        y += [*(row[measure] for row in of), None]
        told += [*(f"seed {seed}, epoch {row['step']}" for row in of), ""]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": ON_THE_WAY,
        "x": x,
        "y": y,
        "customdata": told,
        "line": {"color": GRAY, "width": 1},
        "marker": {"color": GRAY, "size": 4},
        "opacity": 0.6,
        "hovertemplate": "Benign, %{customdata}: loss %{x:.3g}, %{y:.3g}<extra></extra>",
    }


def _marks(subject: Subject, rows: Sequence[Row], measure: str) -> Trace:
    def told(row: Row) -> str:
        attack = "" if row["attack"] == "none" else f", {escape(short('attacks', row['attack']))}"
        return (
            f"{subject.title}{attack}, seed {row['seed']}: loss {number(row['loss'])}, "
            f"{number(row[measure])}"
        )

    return {
        "type": "scatter",
        "mode": "markers",
        "name": subject.title,
        "x": [row["loss"] for row in rows],
        "y": [row[measure] for row in rows],
        "customdata": [told(row) for row in rows],
        "marker": {"color": subject.mark.color, "symbol": subject.mark.symbol, "size": 9},
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _path(rows: Sequence[Row], measure: str) -> Trace:
    of = sorted(rows, key=lambda row: row["step"])
    mark = PURIFIED.mark
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Way of NGF, mean",
        "x": [row["loss"] for row in of],
        "y": [row[measure] for row in of],
        "customdata": [row["step"] for row in of],
        "line": {"color": mark.color, "width": 2.5},
        "hovertemplate": "NGF, step %{customdata}: loss %{x:.3g}, %{y:.3g}<extra></extra>",
    }


def _finding(effects: Sequence[Row], title: str) -> str:
    found: Mapping[str, Row] = {
        effect["compared"]: effect for effect in effects if effect["question"] == "backdoored"
    }
    raw, equal = found.get("raw"), found.get("loss")
    if raw is None:
        return "Too few models for a comparison yet."

    def told(effect: Row) -> str:
        low, high = effect["low"], effect["high"]
        return f"{effect['ratio']:.2f} times ({interval(low, high)}: {side(low, high)})"

    text = f"{title}: backdoored models have {told(raw)} that of benign ones ({rests_on(raw['n'])})"
    if equal is None:
        return f"{text}; at the same clean loss they were not compared."
    return f"{text}; at the same clean loss, along the gray lines, {told(equal)}."
