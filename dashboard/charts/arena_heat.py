"""Every defense against every attack: one cell each, colored by what is left or what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    GRAY,
    base_layout,
    escape,
    listed,
    number,
    percent,
    signed,
    upright,
)
from dashboard.charts.titles import short

Row = Mapping[str, Any]
NONE = "none"  # the attack of a benign model
_LEAST = 760  # pixels: narrower cells do not hold their numbers
_GOOD, _MIDDLE, _BAD = "#6FB1E4", "#F0EDE4", "#DE6A48"  # apart also for the color-blind
TAUGHT = "taught"  # the row of benign networks
_TAUGHT_TITLE = "Never had it, taught the same"
GONE = 0.1  # what counts as removed
OF_A_TRIGGER = ("asr", "asr_reactivated", "ra", "der")  # what a benign model has not
_UNDECIDED = "±"  # of a cell whose models lie on both sides of it


@dataclass(frozen=True)
class Quantity:
    """What the cells show.

    key: of the rows of `cells` and `methods` in arena.json.
    words: on a cell.
    place: of a value on the color scale, 0 good to 1 bad.
    """

    key: str
    title: str
    about: str
    words: Callable[[float], str]
    place: Callable[[float], float]


def _share(value: float) -> str:
    return f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"


def _root(value: float) -> float:
    return math.sqrt(min(1.0, max(0.0, value)))


def _decades(low: float, high: float) -> Callable[[float], float]:
    """The place of a value between two, on a logarithmic scale."""
    span = math.log(high / low)
    return lambda value: min(1.0, max(0.0, math.log(max(value, low) / low) / span))


QUANTITIES = {
    one.key: one
    for one in (
        Quantity(
            "asr",
            "ASR left",
            "Attack success rate after the defense, in percent; a tenth counts as removed.",
            _share,
            _root,
        ),
        Quantity(
            "asr_reactivated",
            "ASR reactivated",
            "Attack success rate after five poisoned images and five epochs more, in percent: "
            "whether the backdoor was gone or only closed.",
            _share,
            _root,
        ),
        Quantity(
            "ca_lost",
            "CA lost",
            "Clean accuracy that the defense costs, in points.",
            signed,
            lambda value: min(1.0, max(0.0, value) / 0.05),
        ),
        Quantity(
            "ra",
            "RA",
            "Triggered images that get their true class again, in percent.",
            _share,
            lambda value: 1 - value,
        ),
        Quantity(
            "der",
            "DER",
            "Defense effectiveness rating: what it removes less what it costs, 100 is best.",
            _share,
            lambda value: min(1.0, 2 * (1 - value)),
        ),
        Quantity(
            "seconds",
            "Seconds",
            "Time of one purification on one core of the machine named below.",
            lambda value: number(value, 2),
            _decades(1, 60),
        ),
        Quantity(
            "sharpness",
            "Sharpness",
            "Largest eigenvalue of the Hessian of the clean loss after the defense, over that "
            "before; models of seed 0.",
            lambda value: number(value, 2),
            _decades(0.1, 10),
        ),
    )
}


def attacks_of(cells: Sequence[Row]) -> list[str]:
    """The attacks in a row, by what all methods leave of them on average, the hardest first; benign
    models last.
    """
    by: dict[str, list[float]] = {}
    for row in cells:
        by.setdefault(row["attack"], []).append(row["asr"] if row["asr"] is not None else -1.0)
    return sorted(by, key=lambda name: (name == NONE, -sum(by[name]) / len(by[name]), name))


def heat_chart(
    cells: Sequence[Row],
    names: Sequence[str],
    attacks: Sequence[str],
    what: str,
    methods: Methods,
    taught: Sequence[Row] = (),
) -> Chart:
    """Methods below each other in the order of `names`, attacks in that of `attacks`; below a
    reactivation what the same images teach a benign network.

    cells: {attack, method, models, asr, asr_low, asr_high, ca_lost, ...} of arena.json.
    what: of QUANTITIES.
    taught: {attack, models, asr, asr_low, asr_high, asr_before} of arena.json.
    """
    quantity = QUANTITIES[what]
    by = {(row["method"], row["attack"]): row for row in cells}
    finding = _finding(cells, names, methods)
    table = [_table_row(by[key], methods) for key in by if key[0] in names and key[1] in attacks]
    if taught and what == "asr_reactivated":
        names, methods = [*names, TAUGHT], {**methods, TAUGHT: {"title": _TAUGHT_TITLE}}
        by |= {(TAUGHT, row["attack"]): {**row, what: row["asr"]} for row in taught}
        finding = _lesson(taught)
    heat = {
        "type": "heatmap",
        "x": list(range(len(attacks))),
        "y": list(range(len(names))),
        "z": [
            [_place(by.get((name, attack)), attack, quantity) for attack in attacks]
            for name in names
        ],
        "text": [
            [_words(by.get((name, attack)), attack, quantity) for attack in attacks]
            for name in names
        ],
        "texttemplate": "%{text}",
        "customdata": [
            [_hover(by.get((name, attack)), name, attack, methods) for attack in attacks]
            for name in names
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, _GOOD], [_root(GONE), _MIDDLE], [1, _BAD]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
    }
    layout = base_layout(
        "",
        "",
        margin={"l": 8, "r": 48, "t": 96, "b": 8},
        meta={"least": _LEAST},
        shapes=[upright(attacks.index(NONE) - 0.5, color=GRAY)] if NONE in attacks else [],
        xaxis={
            "side": "top",
            "tickvals": list(range(len(attacks))),
            "ticktext": [escape(_heading(name, quantity)) for name in attacks],
            "tickangle": -45,
            "showgrid": False,
            "title": {"text": ""},
            "fixedrange": True,
        },
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [f"{escape(arena_title(name, methods))}  " for name in names],
            "autorange": "reversed",
            "showgrid": False,
            "title": {"text": ""},
            "fixedrange": True,
        },
    )
    return make_chart([heat], layout, table, finding)


def _attack(name: str) -> str:
    return "Benign" if name == NONE else short("attacks", name)


def _heading(attack: str, quantity: Quantity) -> str:
    """Of a column; that of benign models says so where it shows another quantity."""
    shown = _shown(attack, quantity)
    return _attack(attack) if shown is quantity else f"{_attack(attack)}: {shown.title}"


def _shown(attack: str, quantity: Quantity) -> Quantity:
    """What a column shows: where benign models have none of it, what the defense costs them."""
    lacks = attack == NONE and quantity.key in OF_A_TRIGGER
    return QUANTITIES["ca_lost"] if lacks else quantity


def _place(row: Row | None, attack: str, quantity: Quantity) -> float | None:
    shown = _shown(attack, quantity)
    value = None if row is None else row.get(shown.key)
    return None if value is None else round(shown.place(value), 3)


def _words(row: Row | None, attack: str, quantity: Quantity) -> str:
    shown = _shown(attack, quantity)
    value = None if row is None else row.get(shown.key)
    if row is None or value is None:
        return ""
    return shown.words(value) + (_UNDECIDED if shown.key == "asr" and undecided(row) else "")


def undecided(row: Row) -> bool:
    """Whether some of the models of a cell keep their backdoor, and others do not."""
    return row["asr_low"] is not None and row["asr_low"] <= GONE < row["asr_high"]


def _hover(row: Row | None, name: str, attack: str, methods: Methods) -> str:
    title = f"{escape(arena_title(name, methods))} against {escape(_attack(attack))}"
    if row is None:
        return f"{title}: not measured yet"
    models = "1 model" if row["models"] == 1 else f"{row['models']} models"
    if name == TAUGHT:
        between = f"{percent(row['asr_low'])} to {percent(row['asr_high'])}"
        return (
            f"<b>{escape(_attack(attack))}</b>, taught to {models} that never had it<br>"
            f"ASR {percent(row['asr_before'])} before, {percent(row['asr'])} after ({between})"
        )
    said = [f"<b>{title}</b>, {models}"]
    if row["asr"] is not None:
        said.append(
            f"ASR {percent(row['asr'])} ({percent(row['asr_low'])} to {percent(row['asr_high'])})"
        )
        said.append(f"reactivated {percent(row['asr_reactivated'])}, RA {percent(row['ra'])}")
    said.append(f"CA lost {signed(row['ca_lost'])} points, {number(row['seconds'], 2)} s")
    return "<br>".join(said)


def _table_row(row: Row, methods: Methods) -> dict[str, Any]:
    def share(key: str) -> float | None:
        return None if row[key] is None else round(100 * row[key], 2)

    return {
        "Attack": _attack(row["attack"]),
        "Method": arena_title(row["method"], methods),
        "Models": row["models"],
        "ASR left (%)": share("asr"),
        "ASR lowest (%)": share("asr_low"),
        "ASR highest (%)": share("asr_high"),
        "ASR reactivated (%)": share("asr_reactivated"),
        "CA lost (points)": share("ca_lost"),
        "RA (%)": share("ra"),
        "DER (%)": share("der"),
        "Seconds": row["seconds"],
        "Sharpness, after over before": row["sharpness"],
        "Parameters changed": row["changed"],
    }


def _lesson(taught: Sequence[Row]) -> str:
    """How to read a reactivation: against what a benign network learns from the same images."""
    most = [row for row in taught if row["asr"] > GONE]
    if not most:
        return "The same images teach a benign network next to nothing: what comes back was there."
    named = listed(
        [f"{_attack(row['attack'])} {percent(row['asr'])}" for row in sorted(most, key=_asr)[::-1]]
    )
    return (
        f"The same images teach some attacks to a benign network as well: {named}. Only what comes "
        "back beyond that was there."
    )


def _asr(row: Row) -> float:
    return float(row["asr"])


def _finding(cells: Sequence[Row], names: Sequence[str], methods: Methods) -> str:
    """How many attacks each of the best methods removes with every model, of those methods that
    were tried on the most attacks.
    """
    removed: dict[str, tuple[int, int]] = {}
    for name in names:
        own = [row for row in cells if row["method"] == name and row["asr"] is not None]
        if own:
            removed[name] = sum(row["asr_high"] <= GONE for row in own), len(own)
    if not removed:
        return ""
    of = max(tried for _, tried in removed.values())
    gone = max(count for count, tried in removed.values() if tried == of)
    first = [name for name, found in removed.items() if found == (gone, of)]
    told = ", ".join(arena_title(name, methods) for name in first[:3])
    more = f" and {len(first) - 3} more" if len(first) > 3 else ""
    alone = "leaves" if len(first) == 1 else "leave"
    return (
        f"{told}{more} {alone} at most {100 * GONE:.0f} % of attack success on every model of "
        f"{gone} of {of} attacks; no other method does so for more."
    )
