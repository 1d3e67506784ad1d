"""The answer in one picture: how many times as sharp, as it is and with the clean loss accounted
for.

A ratio of 1 is "as sharp as": right of it sharper, left of it smoother.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.ratios import (
    Row,
    interval,
    ratio_axis,
    rests_on,
    row_axis,
    row_words,
    side,
    whiskers,
)
from dashboard.charts.style import GRAY, METHODS, MODELS, Mark, Trace, base_layout, upright

QUESTIONS = {
    "backdoored": "With a backdoor, against without",
    "purified": "After NGF, against before",
}
COMPARED = {
    "raw": "as they are",
    "loss": "at the same clean loss",
    "ca": "at the same clean accuracy",
}
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")  # by place among the measures
_STEP = 0.22  # between the measures of a row; rows are 1 apart


def answer_chart(effects: Sequence[Row], titles: Mapping[str, str]) -> Chart:
    """Each effect as a point with its 95 % interval.

    effects: dicts {question, compared, measure, ratio, low, high, n}: keys of `QUESTIONS` and
        `COMPARED`, a measure, the ratio of geometric means with its interval, and how much it
        rests on by kind.
    titles: of the measures, in order.
    """
    effects = [
        effect
        for effect in effects
        if effect["measure"] in titles
        and effect["question"] in QUESTIONS
        and effect["compared"] in COMPARED
    ]
    rows = [(question, compared) for question in QUESTIONS for compared in COMPARED]
    there = [row for row in rows if any(_row_of(effect) == row for effect in effects)]
    shown = [name for name in titles if any(effect["measure"] == name for effect in effects)]
    traces = [
        _trace(
            titles[name], place, len(shown), [of for of in effects if of["measure"] == name], there
        )
        for place, name in enumerate(shown)
    ]
    values = [effect[end] for effect in effects for end in ("low", "high")]
    layout = base_layout(
        "← smoother · times as sharp · sharper →",
        "",
        showlegend=True,
        margin={"l": 12},
        xaxis=ratio_axis(values),
        yaxis=row_axis(len(there)),
        shapes=[upright(1.0, color=GRAY, width=1.5, dash="solid")],
        annotations=row_words([_words(row, effects, shown) for row in there]),
    )
    table = [
        {
            "Question": QUESTIONS[effect["question"]],
            "Compared": COMPARED[effect["compared"]],
            "Measure": titles[effect["measure"]],
            "Ratio": effect["ratio"],
            "Low (95 %)": effect["low"],
            "High (95 %)": effect["high"],
            "Rests on": rests_on(effect["n"]),
        }
        for effect in effects
    ]
    return make_chart(traces, layout, table, answer_finding(effects, titles))


def _row_of(effect: Row) -> tuple[str, str]:
    return effect["question"], effect["compared"]


def _words(row: tuple[str, str], effects: Sequence[Row], shown: Sequence[str]) -> str:
    """What is compared, and on which side the measures lie."""
    question, compared = row
    sides = [
        side(effect["low"], effect["high"])
        for name in shown
        for effect in effects
        if _row_of(effect) == row and effect["measure"] == name
    ]
    said = sides[0] if len(set(sides)) == 1 else "it depends on the measure"
    return f"{QUESTIONS[question]}, <i>{COMPARED[compared]}</i>: <b>{said}</b>"


def _trace(
    title: str, place: int, count: int, found: Sequence[Row], there: Sequence[tuple[str, str]]
) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": [effect["ratio"] for effect in found],
        "y": [there.index(_row_of(effect)) + _STEP * (place - (count - 1) / 2) for effect in found],
        "error_x": whiskers(found, "ratio"),
        "marker": {
            "color": [_mark(effect).color for effect in found],
            "symbol": _SYMBOLS[place % len(_SYMBOLS)],
            "size": 12,
        },
        "customdata": [
            [interval(effect["low"], effect["high"]), rests_on(effect["n"])] for effect in found
        ],
        "hovertemplate": "%{x:.2f} times (%{customdata[0]})<br>%{customdata[1]}<extra>"
        + title
        + "</extra>",
    }


def _mark(effect: Row) -> Mark:
    return MODELS["backdoored"] if effect["question"] == "backdoored" else METHODS["ngf"]


def answer_finding(effects: Sequence[Row], titles: Mapping[str, str]) -> str:
    """What the picture says of the first measure, with its intervals."""
    first = next(iter(titles), "")
    found = {_row_of(effect): effect for effect in effects if effect["measure"] == first}
    said = []
    for question, subject, against in (
        ("backdoored", "a network with a backdoor is", " one without"),
        ("purified", "after NGF it is", " before"),
    ):
        raw = found.get((question, "raw"))
        if raw is None:
            continue
        text = f"{subject} {_times(raw)} as sharp as{against}"
        for compared in ("loss", "ca"):
            if (matched := found.get((question, compared))) is not None:
                text += f", {COMPARED[compared]} {_times(matched)}"
        said.append(f"{text} ({rests_on(raw['n'])})")
    if not said:
        return ""
    return f"By the {titles[first][:1].lower()}{titles[first][1:]}, {'; '.join(said)}."


def _times(effect: Row) -> str:
    """`1.45 times (1.20 to 1.76: sharper)`"""
    low, high = effect["low"], effect["high"]
    return f"{effect['ratio']:.2f} times ({interval(low, high)}: {side(low, high)})"
