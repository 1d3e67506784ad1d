"""How well each measure tells a backdoored model from a benign one, on an attack that it has not
seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.ratios import Row, interval, rests_on, row_axis, row_words, whiskers
from dashboard.charts.style import GRAY, MODELS, base_layout, percent, upright

CHANCE = 0.5
CONTROL = "loss"  # knows no sharpness
TOGETHER = "all measures"  # none of the single ones


def detector_chart(rows: Sequence[Row], titles: Mapping[str, str]) -> Chart:
    """A point with its interval per measure, the best at the top; the line is chance.

    rows: {measure, auc, low, high, found, false_alarms, n}, one per measure.
    """
    ordered = sorted(rows, key=lambda row: -row["auc"])
    colors = [GRAY if row["measure"] == CONTROL else MODELS["backdoored"].color for row in ordered]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "AUC",
        "x": [row["auc"] for row in ordered],
        "y": list(range(len(ordered))),
        "error_x": whiskers(ordered, "auc"),
        "marker": {"color": colors, "symbol": "circle", "size": 11},
        "customdata": [
            [titles[row["measure"]], interval(row["low"], row["high"]), rests_on(row["n"])]
            for row in ordered
        ],
        "hovertemplate": "%{customdata[0]}: %{x:.2f} (%{customdata[1]})<br>%{customdata[2]}"
        "<extra></extra>",
    }
    least = min([row["low"] for row in ordered], default=CHANCE)
    layout = base_layout(
        "AUC (0.5 is a coin, 1 is never wrong)",
        "",
        margin={"l": 12},
        xaxis={"range": [min(0.4, least - 0.02), 1.02]},
        yaxis=row_axis(len(ordered)),
        shapes=[upright(CHANCE, color=GRAY, width=1.5, dash="solid")],
        annotations=row_words([titles[row["measure"]] for row in ordered], above=0.42),
    )
    table = [
        {
            "Measure": titles[row["measure"]],
            "AUC": row["auc"],
            "Low (95 %)": row["low"],
            "High (95 %)": row["high"],
            "Backdoored found": percent(row["found"], 0),
            "Benign accused": percent(row["false_alarms"], 0),
            "Rests on": rests_on(row["n"]),
        }
        for row in ordered
    ]
    return make_chart([trace] if ordered else [], layout, table, _finding(ordered, titles))


def _finding(ordered: Sequence[Row], titles: Mapping[str, str]) -> str:
    if not ordered:
        return ""
    single = [row for row in ordered if row["measure"] not in (CONTROL, TOGETHER)]
    clear = sum(row["low"] > CHANCE for row in single)
    best = single[0]
    text = (
        f"{clear} of {len(single)} are clearly better than a coin ({rests_on(best['n'])}). The "
        f"highest: {titles[best['measure']][:1].lower()}{titles[best['measure']][1:]}, "
        f"{best['auc']:.2f} ({interval(best['low'], best['high'])})"
    )
    control = next((row for row in ordered if row["measure"] == CONTROL), None)
    if control is not None:
        low, high = control["low"], control["high"]
        text += f"; the clean loss alone, {control['auc']:.2f} ({interval(low, high)})"
    return f"{text}."
