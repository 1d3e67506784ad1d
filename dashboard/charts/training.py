"""A training as it happens: the three rates above, the training loss below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.pixels import per_pixel
from dashboard.charts.rates import AXIS, RATES, SHARE, Event, rate_columns, rate_curve
from dashboard.charts.style import (
    GRAY,
    Trace,
    base_layout,
    direct_labels,
    line,
    number,
    percent,
)


def training_chart(events: Iterable[Event]) -> Chart:
    """`events` are those of a training run, one `epoch` event per epoch."""
    epochs = [event for event in events if event.get("type") == "epoch"]
    traces, texts = _curves(epochs)
    steps = max((event["steps"] for event in epochs), default=10)
    layout = base_layout(
        "Epoch",
        SHARE,
        right=160,
        xaxis={"range": [0, 1.012 * steps], "anchor": "y2"},
        yaxis={**AXIS, "domain": [0.34, 1]},
        yaxis2={
            "domain": [0, 0.24],
            "rangemode": "tozero",
            "zeroline": False,
            "nticks": 3,
            "title": {"text": "Loss", "standoff": 8},
            "automargin": True,
        },
        annotations=direct_labels(traces, texts),
        meta={"x_name": "epoch"},
    )
    rows: list[dict[str, Any]] = [
        {
            "Epoch": event["step"],
            **rate_columns(event),
            "Training loss": event.get("loss"),
            "Learning rate": event.get("lr"),
        }
        for event in epochs
    ]
    return make_chart(traces, layout, rows, training_finding(epochs))


def _curves(epochs: Sequence[Event]) -> tuple[list[Trace], dict[int, tuple[str, str]]]:
    """The rates and the loss, and what stands beside the end of each."""
    traces: list[Trace] = []
    texts: dict[int, tuple[str, str]] = {}
    for rate in RATES:
        words = f"{rate.name}: %{{y:.1f}} %<extra>epoch %{{x}}</extra>"
        curve = rate_curve(rate, epochs, rate.name, rate.mark.color, hovertemplate=words)
        if curve is not None:
            texts[len(traces)] = rate.mark.glyph, rate.name
            traces.append(curve)
    seen = [event for event in epochs if event.get("loss") is not None]
    if seen:
        texts[len(traces)] = "▬", "Training loss"
        traces.append(_loss(seen))
    return traces, texts


def _loss(seen: Sequence[Event]) -> Trace:
    loss = line(
        "Training loss",
        *per_pixel([event["step"] for event in seen], [event["loss"] for event in seen]),
        GRAY,
        hovertemplate="Training loss: %{y:.3g}<extra>epoch %{x}</extra>",
        yaxis="y2",
    )
    return {**loss, "mode": "lines"}


def training_finding(epochs: Sequence[Event]) -> str:
    """What the last epoch reached. '' when there is none."""
    if not epochs:
        return ""
    last = epochs[-1]
    where = f"After epoch {last['step']} of {last['steps']}"
    known = [event for event in epochs if event.get("ca") is not None]
    if not known:
        loss = "not known" if last.get("loss") is None else number(last["loss"])
        return f"{where} the training loss is {loss}."
    last, count = known[-1], last["step"] - known[-1]["step"]
    where = where if not count else f"After epoch {last['step']} of {last['steps']}"
    clean = f"the model is right on {percent(last['ca'])} of clean test images"
    if last.get("asr") is None:
        return f"{where} {clean}."
    return (
        f"{where} {clean}, and the trigger sends {percent(last['asr'])} of the images of other "
        "classes to the target class."
    )
