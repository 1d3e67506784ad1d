"""A training as it happens: the three rates above, the training loss below."""

from __future__ import annotations

from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, RATES, base_layout, direct_labels, line, number, percent


def training_chart(events: list[dict[str, Any]]) -> Chart:
    """`events` are those of a training run, one `epoch` event an epoch."""
    epochs = [event for event in events if event.get("type") == "epoch"]
    traces: list[dict[str, Any]] = []
    texts: dict[int, tuple[str, str]] = {}
    for rate in RATES:
        seen = [event for event in epochs if event.get(rate.key) is not None]
        if seen:
            texts[len(traces)] = rate.glyph, rate.name
            traces.append(
                line(
                    rate.name,
                    [event["step"] for event in seen],
                    [round(100 * event[rate.key], 3) for event in seen],
                    rate.color,
                    dash=rate.dash,
                    symbol=rate.symbol,
                    every=max(1, len(seen) // 25),
                    hovertemplate=f"{rate.name}: %{{y:.1f}} %<extra>epoch %{{x}}</extra>",
                )
            )
    seen = [event for event in epochs if event.get("loss") is not None]
    labels = direct_labels(traces, texts, low=-3, high=103, gap=0.09)
    if seen:
        loss = line(
            "Training loss",
            [event["step"] for event in seen],
            [event["loss"] for event in seen],
            GRAY,
            hovertemplate="Training loss: %{y:.3g}<extra>epoch %{x}</extra>",
            yaxis="y2",
        )
        traces.append({**loss, "mode": "lines"})
        labels += direct_labels(traces, {len(traces) - 1: ("▬", "Training loss")}, low=0, high=1e9)
    steps = max((event["steps"] for event in epochs), default=10)
    layout = base_layout(
        "Epoch",
        "Share of test images (%)",
        right=160,
        xaxis={"range": [0, 1.012 * steps], "anchor": "y2"},
        yaxis={"range": [-3, 103], "tickvals": [0, 25, 50, 75, 100], "domain": [0.34, 1]},
        yaxis2={
            "domain": [0, 0.24],
            "rangemode": "tozero",
            "zeroline": False,
            "nticks": 3,
            "title": {"text": "Loss", "standoff": 8},
            "automargin": True,
        },
        annotations=labels,
        meta={"x_name": "epoch"},
    )
    rows = [
        {
            "Epoch": event["step"],
            **{
                f"{rate.name} (%)": None
                if event.get(rate.key) is None
                else round(100 * event[rate.key], 3)
                for rate in RATES
            },
            "Training loss": event.get("loss"),
            "Learning rate": event.get("lr"),
        }
        for event in epochs
    ]
    return make_chart(traces, layout, rows, training_finding(epochs))


def training_finding(epochs: list[dict[str, Any]]) -> str:
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
