"""What README.md says of the checkup, from assets/evidence/detectors.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evidence.markdown import markdown, wrapped
from evidence.shipped import DETECTORS, read
from ngf.catalogue import catalogue

_RULES = {
    "family": "Verdict",
    "any": "Verdict from what compares the classes of one model",
    "family_early": "First look, before the long searches",
    "any_early": "First look from what compares the classes of one model",
}
_SEEN = 0.5  # share of an attack's models that must be found for it to count as found


def checkup() -> str:
    """What the verdict does with attacks that it has not seen, then a row for each detector."""
    if not DETECTORS.exists():
        return "Not measured yet."
    found = read(DETECTORS)
    rule = found["rules"]["family"]
    titles = {name: about["short"] for name, about in catalogue()["attacks"].items()}
    lost = [titles[name] for name, share in rule["found_by"].items() if share < _SEEN]
    missed = f" It does not find: {', '.join(lost)}." if lost else ""
    n, silent = rule["n"], _percent(rule["silent_by"]["none"])
    said = wrapped(
        f"{n['models']} backdoored models of {n['attacks']} attacks and {n['benign']} benign ones, "
        f"all {found['family']['title']}; {found['settings']['n']} clean images. Every attack was "
        "left out once, and rules that were learned from the others had to find it; benign models "
        "were left out by parts. AUC with a 95 % interval. The verdict accuses "
        f"{_percent(rule['false_alarms'])} of the benign models and says “cannot tell” of {silent} "
        f"of them.{missed} The clean loss alone is what a detector must beat. Other networks and "
        "images are untested."
    )
    rows = [
        (row["title"], _auc(row["auc"]), _percent(row["found"]), _percent(row["false_alarms"]))
        for row in found["detectors"]
    ]
    rules = [
        (
            _RULES[name],
            _auc(one["auc"]),
            _percent(sum(one["found_by"].values()) / len(one["found_by"])),
            _percent(one["false_alarms"]),
        )
        for name, one in found["rules"].items()
    ]
    rows.sort(key=lambda row: row[1], reverse=True)
    head = ("detector", "AUC on unseen attacks", "found", "false alarms")
    return f"{said}\n\n{markdown(head, [*rules, *rows])}"


def _auc(auc: Mapping[str, Any]) -> str:
    return f"{auc['value']:.2f} ({auc['low']:.2f} to {auc['high']:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


PARTS: dict[str, Callable[[], str]] = {"checkup": checkup}
