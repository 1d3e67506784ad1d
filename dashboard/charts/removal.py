"""Attack success rate before and after purification: every model, over its purification seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.method import BEFORE, method_marks, method_title
from dashboard.charts.rates import RATES, percents
from dashboard.charts.style import Trace, base_layout, escape, faint, listed, percent
from dashboard.charts.titles import short

_HEIGHT = 0.8  # of the methods of an attack together; attacks are 1 apart
_SPREAD = 0.5  # of the models of a method together, where methods are 1 apart
Row = Mapping[str, Any]


def removal_chart(rows: Sequence[Row], attacks: Mapping[str, str]) -> Chart:
    """Attacks one below the other, in each the methods.

    rows: one per attack, method and model, as in the table `models` of methods.json: {attack,
        method, run, model_seed, purification_seeds, diverged, layer, and of each rate its mean,
        `_low` and `_high` over purification seeds}, rates as fractions, None where all diverged;
        the method `before` is the model as it came.
    attacks: their titles, in order.
    """
    here = [row for row in rows if row["attack"] in attacks]
    present = [name for name in attacks if any(row["attack"] == name for row in here)]
    methods = list(dict.fromkeys(row["method"] for row in here))
    step = _HEIGHT / max(1, len(methods))

    def place(row: Row) -> float:
        return present.index(row["attack"]) + step * (
            methods.index(row["method"]) - (len(methods) - 1) / 2
        )

    layout = _layout(
        list(range(len(present))), [escape(short("attacks", name)) for name in present]
    )
    return make_chart(
        _traces(here, methods, {id(row): place(row) for row in here}),
        layout,
        [_table_row(row, attacks) for row in here],
        _finding(here, present, methods),
    )


def attack_chart(rows: Sequence[Row], attacks: Mapping[str, str]) -> Chart:
    """One attack: methods one below the other, in each the models. rows: as in `removal_chart`."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    models = list(dict.fromkeys(row["run"] for row in rows))
    step = _SPREAD / max(1, len(models))
    places = {
        id(row): methods.index(row["method"])
        + step * (models.index(row["run"]) - (len(models) - 1) / 2)
        for row in rows
    }
    layout = _layout(list(range(len(methods))), [escape(method_title(name)) for name in methods])
    layout["showlegend"] = False  # the rows say it
    return make_chart(
        _traces(rows, methods, places),
        layout,
        [_table_row(row, attacks) for row in rows],
        _range_finding(rows, methods),
    )


def _layout(places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    return base_layout(
        "Attack success rate (%)",
        "",
        showlegend=True,
        xaxis={"range": [-3, 103]},
        yaxis={
            "tickvals": list(places),
            "ticktext": list(names),
            "range": [len(places) - 0.5, -0.5],
            "title": {"text": ""},
            "ticksuffix": "  ",
            "showgrid": False,
        },
    )


def _traces(
    rows: Sequence[Row], methods: Sequence[str], places: Mapping[int, float]
) -> list[Trace]:
    """One per method: a mark at the mean of each model, a thin line over its purification seeds."""
    marks = method_marks(methods)
    traces = []
    for method in methods:
        own = [row for row in rows if row["method"] == method and row["asr"] is not None]
        mark = marks[method]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escape(method_title(method)),
                "x": [percents(row["asr"]) for row in own],
                "y": [round(places[id(row)], 3) for row in own],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [percents(row["asr_high"] - row["asr"]) for row in own],
                    "arrayminus": [percents(row["asr"] - row["asr_low"]) for row in own],
                    "thickness": 1.2,
                    "width": 0,
                    "color": faint(mark.color, 0.55),
                },
                "customdata": [_hover(row) for row in own],
                "marker": {"color": mark.color, "symbol": mark.symbol, "size": 8},
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    return traces


def _hover(row: Row) -> str:
    words = (
        f"{escape(short('attacks', row['attack']))}, {escape(method_title(row['method']))}, "
        f"model of seed {row['model_seed']}: {percent(row['asr'])}"
    )
    if row["method"] == BEFORE:
        return words
    return (
        f"{words}<br>{percent(row['asr_low'])} to {percent(row['asr_high'])} over "
        f"{_ended(row)} purification seeds"
    )


def _ended(row: Row) -> int:
    return int(row["purification_seeds"] - row["diverged"])


def _table_row(row: Row, attacks: Mapping[str, str]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for rate in RATES:
        columns[f"{rate.name} (%)"] = percents(row[rate.key])
        columns[f"{rate.short} from"] = percents(row[f"{rate.key}_low"])
        columns[f"{rate.short} to"] = percents(row[f"{rate.key}_high"])
    return {
        "Attack": attacks.get(row["attack"], row["attack"]),
        "Method": method_title(row["method"]),
        "Model's seed": row["model_seed"],
        "Purification seeds": row["purification_seeds"],
        "Diverged": row["diverged"],
        "Layer": row["layer"],
        **columns,
    }


def _finding(rows: Sequence[Row], present: Sequence[str], methods: Sequence[str]) -> str:
    """What each method leaves, as the mean over the attacks on which all of them were tried, and
    how far purifications of one model lie apart.
    """
    tried = [name for name in methods if name != BEFORE]
    if not tried:
        return ""
    by = {(name, method): _of(rows, method, name) for name in present for method in methods}
    shared = [name for name in present if all(by[name, method] for method in methods)]
    parts = [_left(by, method, shared) for method in methods] if shared else []
    left = f"Mean attack success rate over {_named(shared)}: {', '.join(parts)}. " * bool(parts)
    return left + _widest(rows, tried)


def _left(
    by: Mapping[tuple[str, str], Sequence[float]], method: str, attacks: Sequence[str]
) -> str:
    means = [sum(by[name, method]) / len(by[name, method]) for name in attacks]
    return f"{_called(method)} {percent(sum(means) / len(means))}"


def _range_finding(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """What each method leaves of one attack, as a mean over models."""
    tried = [name for name in methods if name != BEFORE]
    parts = []
    for method in methods:
        if found := _of(rows, method):
            parts.append(f"{_called(method)} {percent(sum(found) / len(found))}")
    said = f"Attack success rate, mean over models: {', '.join(parts)}. " * bool(parts)
    return said + _widest(rows, tried)


def _of(rows: Sequence[Row], method: str, attack: str = "") -> list[float]:
    return [
        row["asr"]
        for row in rows
        if row["method"] == method and row["attack"] == (attack or row["attack"])
        if row["asr"] is not None
    ]


def _called(method: str) -> str:
    return "before" if method == BEFORE else f"after {method_title(method)}"


def _widest(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """How far apart purifications of one model can end."""
    apart = [
        (row["asr_high"] - row["asr_low"], row)
        for row in rows
        if row["method"] in methods and row["asr"] is not None and _ended(row) > 1
    ]
    if not apart:
        return ""
    most, row = max(apart, key=lambda one: one[0])
    return (
        f"Purifications of one model differ by up to {100 * most:.0f} points "
        f"({method_title(row['method'])}, {short('attacks', row['attack'])}, model of seed "
        f"{row['model_seed']})."
    )


def _named(attacks: Sequence[str]) -> str:
    if len(attacks) > 3:
        return f"{len(attacks)} attacks"
    return listed([short("attacks", name) for name in attacks])
