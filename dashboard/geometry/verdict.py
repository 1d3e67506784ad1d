"""What these models show, in a sentence on top of the page: who is sharper, by which measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.measures import MEASURES, Measure
from dashboard.charts.style import listed
from dashboard.geometry.section import submitted
from dashboard.geometry.sections.numbers import FOUND_BY, values_of
from dashboard.kit.measuring import View

CLEAR = 1.25  # times as much: a smaller difference is called none
# One of each kind: Tr(H) and Tr(F) are one number in these networks.
SHOWN = (
    "lambda_max",
    "fisher_trace",
    "filter_lambda_max",
    "asam_sharpness",
    "fisher_rao_norm",
    "relative_flatness",
    "function_sharpness",
)
WORDS = {"sharper": "sharper", "smoother": "smoother", "as sharp": "about as sharp"}
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """How many times as much the measures of one model are as those of another."""

    ratios: Mapping[str, float]

    def by(self, word: str) -> list[Measure]:
        """Measures by which the first is `sharper`, `smoother` or `as sharp`."""
        return [MEASURES[name] for name, ratio in self.ratios.items() if word_of(ratio) == word]


def word_of(ratio: float) -> str:
    if ratio >= CLEAR:
        return "sharper"
    return "smoother" if ratio <= 1 / CLEAR else "as sharp"


def compare(values: Values, other: Values) -> Compared:
    """By the measures that both have, above zero."""
    return Compared(
        {
            name: values[name] / other[name]
            for name in SHOWN
            if (values.get(name) or 0) > 0 and (other.get(name) or 0) > 0
        }
    )


def said(compared: Compared) -> str:
    """`sharper by 3 of 7 measures (largest Hessian eigenvalue, ...) and about as sharp by 4`"""
    count = len(compared.ratios)
    parts: list[str] = []
    for word, called in WORDS.items():
        found = compared.by(word)
        if not found:
            continue
        names = "" if word == "as sharp" else f" ({', '.join(map(_name, found))})"
        if len(found) == count:
            return f"{called} by all {count} measures" if count > 1 else f"{called}{names}"
        of = "" if parts else f" of {count} measures"
        parts.append(f"{called} by {len(found)}{of}{names}")
    return listed(parts) + _after_rescaling(compared)


def _after_rescaling(compared: Compared) -> str:
    """Whether the measures that no rescaling changes agree, where all together do not."""
    kept = [ratio for name, ratio in compared.ratios.items() if MEASURES[name].invariant]
    words = list(dict.fromkeys(map(word_of, kept)))
    if not words:
        return ""
    agree = "do not agree either" if len(words) > 1 else f"say: {WORDS[words[0]]}"
    return f"; those that no rescaling changes {agree}"


def _name(measure: Measure) -> str:
    title = measure.title
    return title if title.startswith("Fisher") else title[:1].lower() + title[1:]


def verdict(view: View) -> str:
    """Of the models on show; '' before enough was measured."""
    found = {name: submitted(view.specs(name)) for name in FOUND_BY}
    values = {side.role: values_of(side, found) for side in view.sides}
    return told(values, [side.subject.phrase for side in view.sides if side.role == "purified"])


def told(values: Mapping[str, Values], purified: Sequence[str]) -> str:
    """values: of each role. purified: how the purified model is called, if there is one."""
    sentences = []
    for role, against, start in (
        ("backdoored", "benign", "The backdoored model is, against the benign one, "),
        ("purified", "backdoored", f"{(purified or [''])[0]} is, against the one before, "),
    ):
        compared = compare(values.get(role, {}), values.get(against, {}))
        if compared.ratios:
            sentences.append(start[:1].upper() + start[1:] + said(compared) + ".")
    if not sentences:
        return ""
    return " ".join(
        [*sentences, f"One model each; less than {CLEAR:g} times as much counts as no difference."]
    )
