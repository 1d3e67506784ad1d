"""The way out: the loss on clean and on triggered images while a network is purified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis import image_kinds
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import IMAGES, base_layout, line, number
from dashboard.charts.subject import Measured

WORDS = {
    "triggered_true": "signs with the trigger",
    "clean": "clean signs",
    "triggered_target": "signs with the trigger, the attacker's answer",
}


def way_out_chart(found: Sequence[Measured], method: str) -> Chart:
    """The loss at each step whose weights were kept, on each kind of images; a ball on the first.

    found: of the measurement `along_run`, on true labels.
    method: what purified it, for the sentence.
    """
    ways = {str(item.values.get("data")): item.arrays for item in found if "step" in item.arrays}
    ways = {kind: ways[kind] for kind in WORDS if kind in ways}
    traces = [
        line(
            WORDS[kind],
            arrays["step"].tolist(),
            arrays["loss"].tolist(),
            IMAGES[kind].color,
            dash=IMAGES[kind].dash,
            symbol=IMAGES[kind].symbol,
            size=5,
            hovertemplate=f"loss %{{y:.3g}} at step %{{x}}<extra>{WORDS[kind]}</extra>",
        )
        for kind, arrays in ways.items()
    ]
    layout = base_layout(
        "Step of fine-tuning",
        "Loss, true labels (nats)",
        showlegend=True,
        yaxis={"rangemode": "tozero"},
        meta={"balls": list(range(len(traces))), "x_name": "step"},
    )
    rows: list[dict[str, Any]] = [
        {"Images": image_kinds.title(kind), "Step": int(step), "Loss": float(loss)}
        for kind, arrays in ways.items()
        for step, loss in zip(arrays["step"], arrays["loss"], strict=True)
    ]
    made = make_chart(traces, layout, rows, _finding(ways, method))
    return replace(made, findings=_told_along(ways, method))


def _told_along(ways: Mapping[str, Mapping[str, np.ndarray]], method: str) -> dict[int, str]:
    """The loss at each step that was measured on all kinds of images."""
    at = {
        kind: dict(zip(arrays["step"].tolist(), arrays["loss"].tolist(), strict=True))
        for kind, arrays in ways.items()
    }
    steps = sorted(set.intersection(*(set(of) for of in at.values()))) if at else []
    return {
        int(step): f"{_after(int(step), method)}, the loss is "
        + " and ".join(f"{number(of[step], 2)} on {WORDS[kind]}" for kind, of in at.items())
        + "."
        for step in steps
    }


def _after(step: int, method: str) -> str:
    return f"After {step} steps of {method}" if step else "Before the first step"


def _finding(ways: Mapping[str, Mapping[str, np.ndarray]], method: str) -> str:
    if not ways:
        return ""
    said = [
        f"on {WORDS[kind]} from {number(arrays['loss'][0], 2)} to {number(arrays['loss'][-1], 2)}"
        for kind, arrays in ways.items()
    ]
    steps = int(next(iter(ways.values()))["step"][-1])
    return f"Within {steps} steps of {method}, the loss goes {', '.join(said)}."
