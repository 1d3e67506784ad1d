"""One measure of sharpness over all models of the zoo: benign, backdoored, and purified by
each method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import Trace, base_layout, escape, faint, listed, number
from dashboard.charts.subject import BACKDOORED, BENIGN, Subject
from dashboard.charts.titles import lane_title, short

# what was done to a model -> what it is then, from top to bottom within an attack
SUBJECTS = {
    "before": BACKDOORED,
    **{method: Subject("purified", method) for method in ("ngf", "sgd", "adam")},
}
_STEP = 0.18  # between the methods of an attack; attacks are 1 apart
Row = Mapping[str, Any]


def method_title(method: str) -> str:
    """`Backdoored` or `after NGF`"""
    subject = SUBJECTS[method]
    return f"after {lane_title(subject.lane)}" if subject.lane else subject.title


def evidence_chart(rows: Sequence[Row], title: str, attacks: Mapping[str, str]) -> Chart:
    """`rows`: dicts {attack, method, values, mean, half} of one measure, one value per seed, half
    the width of the 95 % interval of the mean; `attacks`: titles, in order.

    One mark per model. The band is what the benign models span.
    """
    found = {(row["attack"], row["method"]): row["values"] for row in rows}
    measured = {attack for attack, _ in found}
    present = [name for name in attacks if name != "none" and name in measured]
    traces = marks(found, {name: attacks[name] for name in present}, number)
    layout = _layout(title, present, [value for values in found.values() for value in values])
    if benign := found.get(("none", "before")):
        layout["shapes"] = [_band(min(benign), max(benign))]
        traces.append(_key_to_band())
    order = list(SUBJECTS)
    table = [
        _table_row(row, attacks)
        for row in sorted(rows, key=lambda row: (row["attack"], order.index(row["method"])))
    ]
    return make_chart(traces, layout, table, _finding(rows, present))


def _layout(title: str, present: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    """Logarithmic where the values need it."""
    logarithmic = bool(values) and min(values) > 0 and max(values) > 10 * min(values)
    layout = base_layout(
        escape(title) + (" (logarithmic)" if logarithmic else ""),
        "",
        showlegend=True,
        yaxis=attack_axis(present),
    )
    layout["xaxis"] |= {"type": "log", "dtick": "D2"} if logarithmic else {}
    return layout


def _table_row(row: Row, attacks: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Attack": attacks.get(row["attack"], row["attack"]),
        "Model": BENIGN.title if row["attack"] == "none" else method_title(row["method"]),
        "Mean": row["mean"],
        "± (95 %)": row["half"],
        **{f"Seed {seed}": value for seed, value in enumerate(row["values"])},
    }


def _band(low: float, high: float) -> dict[str, Any]:
    """What the benign models span, over the whole height."""
    color = BENIGN.mark.color
    return {
        "type": "rect",
        "x0": low,
        "x1": high,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": color, "width": 1, "dash": "dot"},
        "fillcolor": faint(color, 0.15),
        "layer": "below",
    }


def _key_to_band() -> Trace:
    """Shapes do not stand in the legend: a trace without points does, in their place."""
    mark = BENIGN.mark
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "Benign (band)",
        "x": [None],
        "y": [None],
        "marker": {"color": faint(mark.color, 0.4), "symbol": mark.symbol, "size": 12},
    }


def marks(
    found: Mapping[tuple[str, str], Sequence[float]],
    attacks: Mapping[str, str],
    said: Callable[[float], str],
) -> list[Trace]:
    """One trace per method, one mark per seed, attacks one below the other; `found` by attack and
    method.
    """
    middle = (len(SUBJECTS) - 1) / 2
    return [
        _marks(method, found, attacks, said, _STEP * (k - middle))
        for k, method in enumerate(SUBJECTS)
    ]


def _marks(
    method: str,
    found: Mapping[tuple[str, str], Sequence[float]],
    attacks: Mapping[str, str],
    said: Callable[[float], str],
    below: float,
) -> Trace:
    name, mark = method_title(method), SUBJECTS[method].mark
    points = [
        (value, i + below, f"{escape(title)}, {name}, seed {seed}: {said(value)}")
        for i, (attack, title) in enumerate(attacks.items())
        for seed, value in enumerate(found.get((attack, method), ()))
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [float(f"{x:.5g}") for x, _, _ in points],
        "y": [round(y, 2) for _, y, _ in points],
        "customdata": [text for *_, text in points],
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 9},
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def attack_axis(attacks: Sequence[str]) -> dict[str, Any]:
    """One row per attack, by its short name."""
    return {
        "tickvals": list(range(len(attacks))),
        "ticktext": [escape(short("attacks", name)) for name in attacks],
        "autorange": "reversed",
        "title": {"text": ""},
        "ticksuffix": "  ",
    }


def _finding(rows: Sequence[Row], present: Sequence[str]) -> str:
    shown = [row for row in rows if row["attack"] in present]

    def named(question: str, answer: str, method: str) -> list[str]:
        return [
            short("attacks", row["attack"])
            for row in shown
            if row["method"] == method and row.get(question) == answer
        ]

    parts = []
    if any("sharper_than_benign" in row for row in rows):
        sharper, flatter = (
            named("sharper_than_benign", answer, "before") for answer in ("yes", "no")
        )
        parts.append(
            "All backdoored models are sharper than all benign ones for "
            + listed(sharper, "no attack")
            + (f", flatter for {listed(flatter)}" if flatter else "")
        )
    if any("smoother_than_before" in row for row in rows):
        smoother, rougher = (
            listed(named("smoother_than_before", answer, "ngf"), "no attack")
            for answer in ("yes", "no")
        )
        parts.append(f"NGF makes every model smoother for {smoother} and sharper for {rougher}")
    if not parts:
        return ""
    return "; ".join(parts) + "; where an attack is not named, it depends on the seed."
