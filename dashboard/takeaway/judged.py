"""What a checkup, a yardstick and a reactivation say, in sentences and rows for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.reactivation_words import sentence as reactivation_sentence
from analysis.verdict import shipped_reference, verdict
from analysis.yardstick_words import CANNOT, shipped_surrogate, trust
from analysis.yardstick_words import sentence as yardstick_sentence
from dashboard.charts.style import number, percent
from dashboard.charts.subject import Measured

_REASONS = 4  # detectors that are told in a sentence; the table has all
_Rows = list[dict[str, str]]
# measurement -> its numbers as they are called in a table; shares with the interval beside them
_SHARES = {
    "checkup": {
        "ca": "Right answers on these images",
        "universal_success": "Highest success of a universal perturbation",
    },
    "yardstick": {
        "left": "Still open, of what opened the model before",
        "universal_before": "Universal perturbation to the suspicious class, before",
        "universal_after": "The same, after",
        "trigger_before": "Reversed trigger of the suspicious class, before",
        "trigger_after": "The same, after",
        "moved": "Predictions moved on clean images",
    },
    "reactivation": {
        "asr_before": "Attack success before",
        "asr_after": "Attack success after tuning",
        "right_before": "Right answers on the images below, before",
        "right_after": "The same, after tuning",
    },
}
_COUNTS = {
    "checkup": {"suspicious_class": "Class that stands out most"},
    "yardstick": {
        "suspicious_class": "Suspicious class",
        "opened": "Pairs of an image and an opener, before",
        "n": "Clean images",
    },
    "reactivation": {
        "n_poisoned": "Poisoned pictures tuned on",
        "n_clean": "Clean images tuned on",
        "n_held": "Pictures with the trigger, measured on",
        "epochs": "Epochs",
    },
}


def sentences(name: str, found: Sequence[Measured], classes: Sequence[str]) -> list[str]:
    """What the numbers of a measurement say; nothing of one that speaks by its pictures.

    classes: names of the outputs.
    """
    if name == "checkup":
        return [line for one in found for line in _of_checkup(one.values, classes)]
    if name == "yardstick":
        said = [
            f"{one.subject.title}: {text.removesuffix(CANNOT).strip()}"  # once is enough
            for one in found
            for text in [yardstick_sentence(one.values, {})]
        ]
        return [*said, *filter(None, [trust(shipped_surrogate())])]
    if name == "reactivation":
        said = [f"{one.subject.title}: {reactivation_sentence(one.values)}" for one in found]
        notes = [str(one.values["note"]) for one in found if one.values.get("note")]
        return [*said, *dict.fromkeys(notes)]
    return []


def _of_checkup(values: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    said = verdict(values, shipped_reference())
    lines = [said.words]
    place = said.suspicious
    if place is not None and 0 <= place < len(classes) and classes[place] != str(place):
        lines.append(f"Class {place} is called {classes[place]}.")
    if said.band is not None:
        lines.append(
            f"Between {percent(said.band[0], 0)} and {percent(said.band[1], 0)} the answer is "
            "“cannot tell”: outside of it, it was wrong of at most one known model in twenty."
        )
    if said.reasons:
        lines.append(f"What weighs most: {'; '.join(said.reasons[:_REASONS])}.")
    return lines


def rows(name: str, found: Sequence[Measured]) -> _Rows:
    """A row for each number, a column for each model."""
    shares, counts = _SHARES.get(name, {}), _COUNTS.get(name, {})
    table: _Rows = []
    for key, title in {**shares, **counts}.items():
        cells = {
            one.subject.title: _share(one.values, key) if key in shares else _count(one.values[key])
            for one in found
            if one.values.get(key) is not None
        }
        if cells:
            table.append({"Number": title, **cells})
    return table


def _share(values: Mapping[str, Any], key: str) -> str:
    low, high = values.get(f"{key}_low"), values.get(f"{key}_high")
    if low is None or high is None:
        return percent(values[key])
    return f"{percent(values[key])} [{percent(low)} to {percent(high)}]"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else number(float(value))
