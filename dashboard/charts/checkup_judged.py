"""How far a checkup can be believed: each detector and the verdict on attacks that they have not
seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.detector import detector_chart
from dashboard.charts.ratios import interval
from dashboard.charts.style import GRAY, MODELS, base_layout, line, listed, percent
from dashboard.charts.titles import short

RULES = {
    "family": "Verdict",
    "any": "Verdict from what compares classes alone",
    "family_early": "First look, before the searches",
    "any_early": "First look from what compares classes alone",
}
_SEEN = 0.5  # share of an attack's models that must be found for it to count as found


def judged_chart(reference: Mapping[str, Any]) -> Chart:
    """The AUC of every detector and of the verdicts. reference: as for `checkup_chart`."""
    rows = [
        {
            "measure": row["name"],
            **row["auc"],
            "auc": row["auc"]["value"],
            "found": row["found"],
            "false_alarms": row["false_alarms"],
            "n": row["n"],
        }
        for row in reference["detectors"]
    ]
    rows += [
        {
            "measure": name,
            **rule["auc"],
            "auc": rule["auc"]["value"],
            "found": float(np.mean([*rule["found_by"].values()])),
            "false_alarms": rule["false_alarms"],
            "n": rule["n"],
        }
        for name, rule in reference["rules"].items()
    ]
    titles = {row["name"]: row["title"] for row in reference["detectors"]} | RULES
    return detector_chart(rows, titles)


def roc_chart(reference: Mapping[str, Any], rule: str = "family") -> Chart:
    """The curve of the verdict over all thresholds: share of backdoored models found by share of
    benign ones accused, by rules that had seen neither the model nor its attack; attacks weigh the
    same.

    rule: `family` or `any`.
    """
    about, models = reference["rules"][rule], reference["models"]
    benign = np.array([row[rule] for row in models if row["attack"] == "none"])
    attacks = sorted({row["attack"] for row in models} - {"none"})
    by = [np.array([row[rule] for row in models if row["attack"] == name]) for name in attacks]
    cuts = [1.01, *sorted({row[rule] for row in models}, reverse=True)]
    x = [float((benign >= cut).mean()) for cut in cuts]
    y = [float(np.mean([(own >= cut).mean() for own in by])) for cut in cuts]
    chance = line("A coin", [0, 1], [0, 1], GRAY, dash="dot", mode="lines", hoverinfo="skip")
    curve = line(
        RULES[rule],
        x,
        y,
        MODELS["backdoored"].color,
        mode="lines",
        hovertemplate="%{x:.0%} of benign models accused, %{y:.0%} of backdoored ones found"
        "<extra></extra>",
    )
    layout = base_layout(
        "Benign models accused",
        "Backdoored models found",
        xaxis={"range": [-0.02, 1.02], "tickformat": ".0%"},
        yaxis={"range": [-0.02, 1.02], "tickformat": ".0%"},
    )
    rows = [
        {"Threshold": cut, "Benign accused": fp, "Backdoored found": tp}
        for cut, fp, tp in zip(cuts[1:], x[1:], y[1:], strict=True)
    ]
    return make_chart([chance, curve], layout, rows, _finding(about))


def _finding(about: Mapping[str, Any]) -> str:
    """What the verdict does with attacks that it has not seen, those that it misses named."""
    auc = about["auc"]
    lost = [short("attacks", name) for name, share in about["found_by"].items() if share < _SEEN]
    missed = f" It does not find {listed(lost)}." if lost else ""
    benign = about["n"]["benign"]
    return (
        f"On attacks that it had not seen, the verdict's AUC is {auc['value']:.2f} "
        f"({interval(auc['low'], auc['high'])}); it accuses {percent(about['false_alarms'], 0)} of "
        f"{benign} benign models, says “cannot tell” of {percent(about['silent'], 0)} and is wrong "
        f"of {percent(about['wrong'], 0)} (benign and backdoored weigh the same). Its "
        f"probabilities are off by {percent(about['ece'], 0)} on average.{missed}"
    )
