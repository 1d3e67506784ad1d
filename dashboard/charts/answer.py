"""The answer in one picture: how many times as sharp, as it is and at equal clean loss.

A ratio of 1 is "as sharp as": right of it sharper, left of it smoother.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, METHODS, MODELS, Mark, Trace, base_layout, number, upright

Effect = Mapping[str, Any]
QUESTIONS = {
    "backdoored": "A backdoored network, against benign ones",
    "purified": "The same network after NGF, against before",
}
COMPARED = {"raw": "as they are", "matched": "at the same clean loss"}
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")  # by place among the measures
_STEP = 0.2  # between the measures of a row; rows are 1 apart


def answer_chart(effects: Sequence[Effect], titles: Mapping[str, str]) -> Chart:
    """Each effect as a point with its 95 % interval.

    effects: dicts {question, compared, measure, ratio, low, high, n}: keys of `QUESTIONS` and
        `COMPARED`, a measure, the ratio of geometric means with its interval, and on how much it
        rests, in words.
    titles: of the measures, in order.
    """
    rows = [(question, compared) for question in QUESTIONS for compared in COMPARED]
    there = [row for row in rows if any(_row_of(effect) == row for effect in effects)]
    traces = [
        _trace(name, titles[name], place, len(titles), effects, there)
        for place, name in enumerate(titles)
        if any(effect["measure"] == name for effect in effects)
    ]
    layout = base_layout(
        "Times as sharp (1 = the same; logarithmic)",
        "",
        showlegend=True,
        xaxis={"type": "log", "dtick": "D2"},
        yaxis={
            "range": [len(there) - 0.5, -0.5],
            "tickvals": list(range(len(there))),
            "ticktext": [_words(row) for row in there],
            "showgrid": False,
        },
        shapes=[upright(1.0, color=GRAY, width=1.5, dash="solid")],
    )
    table = [
        {
            "Question": QUESTIONS[effect["question"]],
            "Compared": COMPARED[effect["compared"]],
            "Measure": titles[effect["measure"]],
            "Ratio": effect["ratio"],
            "Low (95 %)": effect["low"],
            "High (95 %)": effect["high"],
            "Rests on": effect["n"],
        }
        for effect in effects
    ]
    return make_chart(traces, layout, table, answer_finding(effects, titles))


def _row_of(effect: Effect) -> tuple[str, str]:
    return effect["question"], effect["compared"]


def _words(row: tuple[str, str]) -> str:
    question, compared = row
    return f"{QUESTIONS[question].replace(', ', ',<br>')},<br><i>{COMPARED[compared]}</i>"


def _trace(
    name: str,
    title: str,
    place: int,
    count: int,
    effects: Sequence[Effect],
    there: Sequence[tuple[str, str]],
) -> Trace:
    found = [effect for effect in effects if effect["measure"] == name]
    colors = [_mark(effect).color for effect in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": [effect["ratio"] for effect in found],
        "y": [there.index(_row_of(effect)) + _STEP * (place - (count - 1) / 2) for effect in found],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [effect["high"] - effect["ratio"] for effect in found],
            "arrayminus": [effect["ratio"] - effect["low"] for effect in found],
            "thickness": 2,
            "width": 5,
            "color": GRAY,
        },
        "marker": {"color": colors, "symbol": _SYMBOLS[place % len(_SYMBOLS)], "size": 12},
        "customdata": [
            [number(effect["low"], 2), number(effect["high"], 2), effect["n"]] for effect in found
        ],
        "hovertemplate": "%{x:.2f} times (%{customdata[0]} to %{customdata[1]})<br>"
        "%{customdata[2]}<extra>" + title + "</extra>",
    }


def _mark(effect: Effect) -> Mark:
    return MODELS["backdoored"] if effect["question"] == "backdoored" else METHODS["ngf"]


def answer_finding(effects: Sequence[Effect], titles: Mapping[str, str]) -> str:
    """What the picture says of the first measure, with its intervals."""
    first = next(iter(titles), "")
    found = {_row_of(effect): effect for effect in effects if effect["measure"] == first}
    said = []
    for question, subject in (
        ("backdoored", "A backdoored network is"),
        ("purified", "After NGF it is"),
    ):
        raw, matched = (found.get((question, compared)) for compared in COMPARED)
        if raw is None:
            continue
        against = " a benign one" if question == "backdoored" else " before"
        text = f"{subject} {_times(raw)} as sharp as{against}"
        if matched is not None:
            text += f", and at the same clean loss {_times(matched)}"
        said.append(f"{text}.")
    return (
        f"By the {titles[first][:1].lower()}{titles[first][1:]}: {' '.join(said)}" if said else ""
    )


def _times(effect: Effect) -> str:
    """`1.45 times (1.20 to 1.76), which is sharper`"""
    low, high = effect["low"], effect["high"]
    side = "sharper" if low > 1 else "smoother" if high < 1 else "no clear difference"
    return f"{effect['ratio']:.2f} times ({low:.2f} to {high:.2f}: {side})"
