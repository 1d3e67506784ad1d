"""One measure of sharpness over all models of the zoo: benign, backdoored, and purified by
each method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    VERMILION,
    base_layout,
    escape,
    faint,
    number,
    without_parenthesis,
)

# method -> (name, color, symbol), from top to bottom within an attack
METHODS = {
    "before": ("Backdoored", VERMILION, "circle"),
    "ngf": ("after NGF", GREEN, "triangle-up"),
    "sgd": ("after SGD", ORANGE, "square"),
    "adam": ("after Adam", PINK, "diamond"),
}


def evidence_chart(
    rows: Sequence[Mapping[str, Any]], title: str, attacks: Mapping[str, str]
) -> Chart:
    """`rows`: dicts {attack, method, values, mean, half} of one measure, one value a seed, half the
    width of the 95 % interval of the mean; `attacks`: titles, in order.

    One mark a model. The band is what the benign models span.
    """
    benign = next((row["values"] for row in rows if row["attack"] == "none"), [])
    present = [
        name for name in attacks if name != "none" and any(row["attack"] == name for row in rows)
    ]
    values = [value for row in rows for value in row["values"]]
    logarithmic = bool(values) and min(values) > 0 and max(values) > 10 * min(values)
    found = {(row["attack"], row["method"]): row["values"] for row in rows}
    traces = marks(found, {name: attacks[name] for name in present}, number)
    table = [
        {
            "Attack": attacks.get(row["attack"], row["attack"]),
            "Model": "Benign" if row["attack"] == "none" else METHODS[row["method"]][0],
            "Mean": row["mean"],
            "± (95 %)": row["half"],
            **{f"Seed {seed}": value for seed, value in enumerate(row["values"])},
        }
        for row in sorted(rows, key=lambda row: (row["attack"], list(METHODS).index(row["method"])))
    ]
    layout = base_layout(
        escape(title) + (" (logarithmic)" if logarithmic else ""),
        "",
        showlegend=True,
        yaxis=attack_axis([attacks[name] for name in present]),
    )
    layout["xaxis"] |= {"type": "log", "dtick": "D2"} if logarithmic else {}
    if benign:
        low, high = min(benign), max(benign)
        layout["shapes"] = [
            {
                "type": "rect",
                "x0": low,
                "x1": high,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": BLUE, "width": 1, "dash": "dot"},
                "fillcolor": faint(BLUE, 0.15),
                "layer": "below",
            }
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "Benign (band)",
                "x": [None],
                "y": [None],
                "marker": {"color": faint(BLUE, 0.4), "symbol": "square", "size": 12},
            }
        )
    return make_chart(traces, layout, table, _finding(rows, present, attacks))


def marks(
    found: Mapping[tuple[str, str], Sequence[float]],
    attacks: Mapping[str, str],
    said: Callable[[float], str],
) -> list[dict[str, Any]]:
    """One trace a method, one mark a seed, attacks one below the other; `found` by attack and
    method.
    """
    traces = []
    for k, (method, (name, color, symbol)) in enumerate(METHODS.items()):
        points = [
            (value, i + 0.18 * (k - 1.5), f"{escape(title)}, {name}, seed {seed}: {said(value)}")
            for i, (attack, title) in enumerate(attacks.items())
            for seed, value in enumerate(found.get((attack, method), ()))
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [float(f"{x:.5g}") for x, _, _ in points],
                "y": [round(y, 2) for _, y, _ in points],
                "customdata": [text for *_, text in points],
                "marker": {"color": color, "symbol": symbol, "size": 9},
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    return traces


def attack_axis(titles: Sequence[str]) -> dict[str, Any]:
    return {
        "tickvals": list(range(len(titles))),
        "ticktext": [escape(without_parenthesis(title)) for title in titles],
        "autorange": "reversed",
        "title": {"text": ""},
        "ticksuffix": "  ",
    }


def _finding(
    rows: Sequence[Mapping[str, Any]], present: Sequence[str], attacks: Mapping[str, str]
) -> str:
    def named(question: str, answer: str, method: str) -> list[str]:
        return [
            without_parenthesis(attacks[row["attack"]])
            for row in rows
            if row.get(question) == answer and row["method"] == method and row["attack"] in present
        ]

    sharper, flatter = (named("sharper_than_benign", answer, "before") for answer in ("yes", "no"))
    smoother, rougher = (named("smoother_than_before", answer, "ngf") for answer in ("yes", "no"))
    parts = []
    if any("sharper_than_benign" in row for row in rows):
        parts.append(
            "All backdoored models are sharper than all benign ones for "
            + listed(sharper)
            + (f", flatter for {listed(flatter)}" if flatter else "")
        )
    if any("smoother_than_before" in row for row in rows):
        parts.append(
            f"NGF makes every model smoother for {listed(smoother)} and sharper for "
            f"{listed(rougher)}"
        )
    return (
        "; ".join(parts) + "; where an attack is not named, it depends on the seed."
        if parts
        else ""
    )


def listed(names: Sequence[str]) -> str:
    return (
        " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        if names
        else "no attack"
    )
