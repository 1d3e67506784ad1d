"""Attack success rate before and after purification, all attacks one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.evidence import SUBJECTS, attack_axis, marks, method_title
from dashboard.charts.rates import rate_columns
from dashboard.charts.style import base_layout, listed, percent
from dashboard.charts.titles import short

_RIVALS = [method for method in SUBJECTS if method not in ("before", "ngf")]
Row = Mapping[str, Any]
Found = Mapping[tuple[str, str], Sequence[float]]  # attack and method -> ASR, one per seed


def removal_chart(rows: Sequence[Row], attacks: Mapping[str, str], gone: float) -> Chart:
    """One mark per model.

    rows: one per model, {attack, seed, before: rates, after: {method: rates}}, rates as fractions
        {ca, asr, ra, n_clean, n_triggered}.
    attacks: their titles, in order.
    gone: the ASR up to which a backdoor counts as removed.
    """
    measured = {row["attack"] for row in rows}
    present = {name: title for name, title in attacks.items() if name in measured}
    found = _asr(rows, list(present))
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
        yaxis=attack_axis(list(present)),
    )
    table = [
        {"Attack": present[row["attack"]], **_table_row(row, method)}
        for row in rows
        if row["attack"] in present
        for method in SUBJECTS
    ]
    return make_chart(traces, layout, table, _finding(rows, found, list(present), gone))


def _asr(rows: Sequence[Row], attacks: Sequence[str]) -> dict[tuple[str, str], list[float]]:
    return {
        (name, method): [rates(row, method)["asr"] for row in rows if row["attack"] == name]
        for name in attacks
        for method in SUBJECTS
    }


def _table_row(row: Row, method: str) -> dict[str, Any]:
    return {
        "Seed": row["seed"],
        "Model": method_title(method),
        "Layer": "" if method == "before" else row["after"][method]["layer"],
        **rate_columns(rates(row, method)),
        "Clean images": row["before"]["n_clean"],
        "Triggered images": row["before"]["n_triggered"],
    }


def rates(row: Row, method: str) -> Mapping[str, Any]:
    """Rates of a model before or after one method."""
    found: Mapping[str, Any] = row["before"] if method == "before" else row["after"][method]
    return found


def _finding(rows: Sequence[Row], found: Found, present: Sequence[str], gone: float) -> str:
    if not rows:
        return ""
    lost = max(row["before"]["ca"] - row["after"]["ngf"]["ca"] for row in rows)
    sentences = [
        _removed(found, present, gone),
        f"NGF costs at most {100 * lost:.1f} points of clean accuracy.",
        *_compared(found, present),
    ]
    return " ".join(filter(None, sentences))


def _removed(found: Found, present: Sequence[str], limit: float) -> str:
    """For which attacks NGF removes every backdoor, and for which none."""
    gone = [name for name in present if max(found[name, "ngf"]) <= limit]
    stays = [name for name in present if min(found[name, "ngf"]) > limit]
    parts = [
        f"of {how} to {percent(limit, 0)} or less for {_named(names)}"
        for how, names in (("every model", gone), ("no model", stays))
        if names
    ]
    return f"NGF brings the attack success rate {', and '.join(parts)}." if parts else ""


def _compared(found: Found, present: Sequence[str]) -> list[str]:
    """Where NGF is ahead of all others with every seed, and where another one is ahead of it."""

    def better(name: str, one: str, other: str) -> bool:
        pairs = zip(found[name, one], found[name, other], strict=True)
        return all(value < against for value, against in pairs)

    ahead = [name for name in present if all(better(name, "ngf", other) for other in _RIVALS)]
    beaten = [name for name in present if any(better(name, other, "ngf") for other in _RIVALS)]
    return [
        f"It does better than SGD and Adam with every seed for {_named(ahead)}." * bool(ahead),
        f"SGD or Adam does better with every seed for {_named(beaten)}." * bool(beaten),
    ]


def _named(attacks: Sequence[str]) -> str:
    return listed([short("attacks", name) for name in attacks])
