"""The parts of README.md about sharpness, from assets/evidence/sharpness.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evidence.markdown import markdown, wrapped
from evidence.sharpness_claims import (
    DATA,
    DECIDES,
    METHOD,
    ON,
    counted,
    effect,
    method_title,
    methods,
    percent,
    shared,
    which_measure_tells,
)
from evidence.sharpness_table import ALL, TITLES
from evidence.shipped import SHARPNESS, read

NOTHING = "Not measured yet."
_PURIFIED = ("lambda_max", "fisher_trace", "invariant")
Row = Mapping[str, Any]


def found() -> Row:
    return dict(read(SHARPNESS))


def about() -> str:
    """What the tables are of."""
    of = found()
    raw = effect(of, "backdoored", "raw", "lambda_max")
    if raw is None:
        return NOTHING
    after = effect(of, "purified", "raw", "lambda_max", method=METHOD)
    text = (
        f"Sharpness of a backdoored network over that of a benign one, on {of['num_images']:,} "
        f"images, plain cross-entropy: geometric means with 95 % intervals ({counted(raw['n'])})"
    )
    if after is not None:
        text += f"; after NGF over before: {counted(after['n'])}"
    return wrapped(
        f"{text}. “Same loss”: against benign networks of the same clean loss, which they pass "
        "through along their training. “Share”: how much of the log ratio goes with the clean "
        "loss, on training images, where the ratio is clear of 1."
    )


def sharper() -> str:
    """A row per measure."""
    of = found()
    rows = []
    for name, title in TITLES.items():
        cells = [
            ratio(effect(of, "backdoored", compared, name, images=images))
            for images in ON
            for compared in ("raw", "loss")
        ]
        if set(cells) == {"–"}:
            continue
        share = shared(of, name, DECIDES)
        told = percent(share["share"]) if share and share["share"] is not None else "–"
        rows.append([title, *cells[:2], told, *cells[2:]])
    head = ("measure", "training images", "same loss", "share", "test images", "same loss")
    return markdown(head, rows) if rows else NOTHING


def smoother() -> str:
    """A row per method and measure."""
    of = found()
    rows = []
    for method in methods(of):
        for name in _PURIFIED:
            cells = [
                ratio(effect(of, "purified", compared, name, method=method))
                for compared in ("raw", "loss", "ca")
            ]
            if cells[0] != "–":
                rows.append([method_title(method), TITLES[name], *cells])
    head = ("after", "measure, training images", "over before", "same loss", "same CA")
    return markdown(head, rows) if rows else NOTHING


def detectors() -> str:
    """AUC on attacks that were left out, and what is said of them."""
    of = found()
    rows = {
        images: {
            row["measure"]: row
            for row in of["detectors"]
            if (row["data"], row["images"], row["attack"]) == (DATA, images, ALL)
        }
        for images in ON
    }
    if not rows[DECIDES]:
        return NOTHING
    names = sorted(rows[DECIDES], key=lambda name: -rows[DECIDES][name]["auc"])
    table = markdown(
        ("measure", "AUC, training images", "AUC, test images"),
        [[TITLES[name], *(area(rows[images].get(name)) for images in ON)] for name in names],
    )
    words = (
        f"{which_measure_tells(of)} A first step to a detector and not one: all models have one "
        "network, one data set and one way of training, and benign ones to compare with are there."
    )
    return f"{table}\n\n{wrapped(words)}"


def ratio(one: Row | None) -> str:
    return "–" if one is None else f"{one['ratio']:.2f} ({one['low']:.2f}–{one['high']:.2f})"


def area(one: Row | None) -> str:
    return "–" if one is None else f"{one['auc']:.2f} ({one['low']:.2f}–{one['high']:.2f})"


PARTS: Mapping[str, Callable[[], str]] = {
    "sharpness": about,
    "sharper": sharper,
    "smoother": smoother,
    "detectors": detectors,
}
