"""What a report says of a model that was imported: where it comes from, and what was found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.reactivation_words import brought, missing, possible
from dashboard.charts.style import percent
from dashboard.kit import run_card
from ngf.runs.store import TrainRun

Row = Mapping[str, Any]
_UNKNOWN = (
    "Nobody knows the trigger of this model, so there is no attack success rate: a purified model "
    "whose clean accuracy stays is not clean for that."
)
_BROUGHT = (
    "The attack success rate is that of the {} pictures with the trigger that came along. It says "
    "nothing about other backdoors."
)
_LIMITS = (
    "The verdict of the checkup was learned from small networks on traffic signs that this program "
    "trained. Of other networks and images it is untested.",
    "The yardstick holds what was found on the model before purification. It cannot show that a "
    "trigger of another kind is gone.",
    "The network, its normalization and the order of its classes were found out on the clean "
    "images. Were one of them wrong, all numbers would be of another model.",
)


def limits(training: TrainRun) -> list[str]:
    """What a reader must not take the numbers for."""
    count = brought(training) or 0
    said = [_BROUGHT.format(f"{count:,}") if count else _UNKNOWN]
    if not possible(training):
        said.append(missing(count))
    return [*said, *_LIMITS]


def facts(training: TrainRun) -> list[Row]:
    """The file, and what was found out of it."""
    result = training.result or {}
    about, pools = result["imported"], result["facts"]["pools"]
    count = brought(training) or 0
    told = {
        "File": about["file"],
        "SHA-256 of the file": about["sha256"],
        "What it holds": " ".join(about["notes"]),
        "Not used of it": ", ".join(about["unused"]) or "–",
        "Network": f"{about['network']} ({training.spec.model})",
        "Input": _preprocessing(about["preprocessing"]),
        "Clean images": f"{about['images']:,} came along: {pools['holdout']:,} for the defender, "
        f"{pools['test']:,} to measure on, which no defense sees",
        "Labels": "came along" if about["labeled"] else "the model's own predictions",
        "Clean accuracy": run_card.with_interval(result, "ca"),
        "Pictures with the trigger": f"{count:,} came along" if count else "none came along",
    }
    if count:
        told["Attack success rate"] = run_card.with_interval(result, "asr")
    return [{"What": name, "Value": value} for name, value in told.items()]


def _preprocessing(how: Mapping[str, Any]) -> str:
    if not how:
        return "–"
    mean, std = (", ".join(f"{value:g}" for value in how[name]) for name in ("mean", "std"))
    numbers = f" (mean {mean}; standard deviation {std})" if mean else ""
    named = "by the network itself" if how["normalization"] == "own" else how["normalization"]
    fit = {"squeeze": "squeezed into a square", "crop": "the middle of them"}.get(how["fit"], "")
    return (
        f"{how['side']}x{how['side']} pixels, images that are no squares {fit}; normalization "
        f"{named}{numbers}; channels {how['order'].upper()}"
    )


def tried(training: TrainRun) -> list[Row]:
    """Inputs and networks that were tried, the best first."""
    about = (training.result or {})["imported"]
    what = "Right predictions" if about["found_classes"] else "Mean confidence"
    return [
        {
            "Input": one["preprocessing"],
            "Network": one["network"],
            what: percent(one["agreement"]),
            "Images": one["count"],
        }
        for one in about["found_tried"]
    ]


def classes(training: TrainRun) -> tuple[str, Sequence[Row]]:
    """How classes were matched to outputs, and the match."""
    found = (training.result or {})["imported"]["found_classes"]
    if not found:
        return "Without labels nothing says what the outputs mean.", []
    how = "in the order of their names" if found["by_name"] else "by the model's own predictions"
    pairs = list(zip(found["labels"], found["outputs"], strict=True))
    if all(label == str(output) for label, output in pairs):
        return f"Classes were matched to outputs {how}; their names are the numbers.", []
    rows = [{"Output": output, "Class": label} for label, output in pairs]
    return f"Classes were matched to outputs {how}.", sorted(rows, key=lambda row: row["Output"])
