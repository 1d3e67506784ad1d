"""Sharp or smooth: two networks with the same loss on clean images, and how fast it rises when the
weights leave them in the steepest direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import MODELS, Mark, base_layout, line, number
from dashboard.charts.titles import short

SHARPER = 1.25  # of two curvatures: below this ratio nobody sees a difference in the picture
_MANY = 15  # markers would hide a line with more points
_HIGHEST = 1.0  # nats; beyond them a walk says nothing about a minimum
Pair = Mapping[str, Any]  # as `evidence.pairs` writes it


def pair_chart(pair: Pair) -> Chart:
    """Two walks over the same distances, the backdoored one on top."""
    name = short("attacks", pair["attack"])
    shown = [
        ("No backdoor", pair["matched"], MODELS["benign"]),
        (f"With a backdoor ({name})", pair["backdoored"], MODELS["backdoored"]),
    ]
    traces = [_trace(words, walk, mark) for words, walk, mark in shown]
    top = min(_HIGHEST, max(y for trace in traces for y in trace["y"]))
    reach = 1.05 * max(map(abs, _below(pair["matched"], top)))
    layout = base_layout(
        "Distance from the weights, relative to the filters",
        "Loss rises by (nats)",
        showlegend=True,
        xaxis={"range": [-reach, reach]},
        yaxis={"range": [-0.03 * top, 1.05 * top]},
    )
    rows = [
        {
            "Model": words,
            "Run": walk["run"],
            "Epoch": walk["step"],
            "Clean loss": walk["loss"],
            "Curvature": walk["curvature"],
            "Distance": distance,
            "Rise": rise,
        }
        for words, walk, _ in shown
        for distance, rise in zip(walk["distance"], walk["rise"], strict=True)
    ]
    return make_chart(traces, layout, rows, pair_finding(pair))


def _below(walk: Mapping[str, Any], top: float) -> list[float]:
    """Distances at which the loss has risen by less."""
    pairs = zip(walk["distance"], walk["rise"], strict=True)
    return [distance for distance, rise in pairs if rise <= top]


def _trace(words: str, walk: Mapping[str, Any], mark: Mark) -> dict[str, Any]:
    return line(
        words,
        walk["distance"],
        walk["rise"],
        mark.color,
        symbol=mark.symbol,
        every=max(1, len(walk["distance"]) // _MANY),
        hovertemplate=f"rises by %{{y:.3g}} at %{{x:.2f}}<extra>{words}</extra>",
    )


def pair_finding(pair: Pair) -> str:
    """What this pair shows, by its curvatures."""
    name, ratio = short("attacks", pair["attack"]), pair["ratio"]
    backdoored, matched = pair["backdoored"], pair["matched"]
    losses = "the same loss on clean signs "
    losses += f"({backdoored['loss']:.3f} and {matched['loss']:.3f})"
    curvatures = f"{number(backdoored['curvature'])} against {number(matched['curvature'])}"
    if ratio >= SHARPER:
        said = f"the network with the {name} backdoor is {number(ratio, 2)} times as sharp"
    elif ratio <= 1 / SHARPER:
        said = f"the network with the {name} backdoor is {number(1 / ratio, 2)} times as smooth"
    else:
        said = f"the network with the {name} backdoor is about as sharp"
    return f"At {losses}, {said} (curvature {curvatures})."


def pairs_finding(pairs: Sequence[Pair]) -> str:
    """How many of the attacks show what, one model each."""
    sharper = sum(pair["ratio"] >= SHARPER for pair in pairs)
    smoother = sum(pair["ratio"] <= 1 / SHARPER for pair in pairs)
    same = len(pairs) - sharper - smoother
    return (
        f"Of {len(pairs)} attacks, one model each, {sharper} are sharper than a benign network "
        f"with the same clean loss (curvature at least {number(SHARPER)} times as high), {same} "
        f"about as sharp, {smoother} smoother."
    )
