"""Attack success before and after purification, all attacks one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.evidence import METHODS, attack_axis, listed, marks
from dashboard.charts.style import base_layout, percent, without_parenthesis

GONE = 0.1  # an attack success rate up to which a backdoor counts as removed in the sentence
_COLUMNS = {
    "ca": "Clean accuracy (%)",
    "asr": "Attack success rate (%)",
    "ra": "Robust accuracy (%)",
}


def removal_chart(rows: Sequence[Mapping[str, Any]], attacks: Mapping[str, str]) -> Chart:
    """`rows`: one a model, dicts {attack, seed, before: rates, after: {method: rates}}, rates as
    fractions {ca, asr, ra, n_clean, n_triggered}; `attacks`: titles, in order. One mark a model.
    """
    present = {
        name: title for name, title in attacks.items() if any(row["attack"] == name for row in rows)
    }
    found = {
        (name, method): [rates(row, method)["asr"] for row in rows if row["attack"] == name]
        for name in present
        for method in METHODS
    }
    traces = marks(
        {key: [100 * value for value in values] for key, values in found.items()},
        present,
        lambda value: f"{value:.1f} %",
    )
    layout = base_layout(
        "Attack success rate (%)",
        "",
        showlegend=True,
        xaxis={"range": [-3, 103]},
        yaxis=attack_axis(list(present.values())),
    )
    table = [
        {
            "Attack": attacks[row["attack"]],
            "Seed": row["seed"],
            "Model": name,
            "Layer": "" if method == "before" else row["after"][method]["layer"],
            **{title: round(100 * rates(row, method)[rate], 3) for rate, title in _COLUMNS.items()},
            "Clean images": row["before"]["n_clean"],
            "Triggered images": row["before"]["n_triggered"],
        }
        for row in rows
        if row["attack"] in present
        for method, (name, *_) in METHODS.items()
    ]
    return make_chart(traces, layout, table, _finding(rows, found, present))


def rates(row: Mapping[str, Any], method: str) -> Mapping[str, Any]:
    """Rates of a model before or after one method."""
    return row["before"] if method == "before" else row["after"][method]


def _finding(
    rows: Sequence[Mapping[str, Any]],
    found: Mapping[tuple[str, str], Sequence[float]],
    present: Mapping[str, str],
) -> str:
    if not rows:
        return ""
    short = {name: without_parenthesis(title) for name, title in present.items()}
    gone = [short[name] for name in present if max(found[name, "ngf"]) <= GONE]
    stays = [short[name] for name in present if min(found[name, "ngf"]) > GONE]
    rivals = [method for method in METHODS if method not in ("before", "ngf")]
    ahead = [
        short[name]
        for name in present
        if all(_lower(found[name, "ngf"], found[name, other]) for other in rivals)
    ]
    beaten = [
        short[name]
        for name in present
        if any(_lower(found[name, other], found[name, "ngf"]) for other in rivals)
    ]
    lost = max(row["before"]["ca"] - row["after"]["ngf"]["ca"] for row in rows)
    parts = [f"of every model to {percent(GONE, 0)} or less for {listed(gone)}"] * bool(gone)
    parts += [f"of no model to {percent(GONE, 0)} or less for {listed(stays)}"] * bool(stays)
    return (
        (f"NGF brings the attack success rate {', and '.join(parts)}. " if parts else "")
        + f"NGF costs at most {100 * lost:.1f} points of clean accuracy."
        + (
            f" It does better than SGD and Adam with every seed for {listed(ahead)}."
            if ahead
            else ""
        )
        + (f" SGD or Adam does better with every seed for {listed(beaten)}." if beaten else "")
    )


def _lower(values: Sequence[float], others: Sequence[float]) -> bool:
    """Whether each seed's value is below the other one of the same seed."""
    return all(value < other for value, other in zip(values, others, strict=True))
