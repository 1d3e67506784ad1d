"""Which defense to use, in words: computed from the tables of the arena, with its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.style import listed, percent

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Means:
    """What a defender has.

    num_clean: clean images. seconds: for one purification. loss: of clean accuracy that is
    tolerated, a fraction.
    """

    num_clean: int
    seconds: float
    loss: float


@dataclass(frozen=True)
class Advice:
    """Methods, the best first; why, in sentences; and what it does not say."""

    methods: tuple[str, ...]
    said: str
    limits: tuple[str, ...]


def advice(found: Mapping[str, Any], means: Means) -> Advice:
    """found: what arena.json holds."""
    methods: Methods = found["about"]["methods"]
    at, rows = _rows(found, means.num_clean)
    fits = [
        row
        for row in rows
        if row["asr"] is not None
        and row["seconds"] <= means.seconds
        and row["ca_lost"] <= means.loss
    ]
    fits.sort(key=lambda row: (row["asr"], row["ca_lost"]))
    limits = _limits(found, at, means)
    if not fits:
        return Advice((), _nothing(rows, means, methods), limits)
    first = fits[0]
    alike = [row for row in fits[1:] if _as_good(row, first)]
    said = (
        f"**{arena_title(first['method'], methods)}**: of the {len(fits)} methods that stay within "
        f"{means.seconds:g} s and {100 * means.loss:.1f} points of clean accuracy on average, it "
        f"leaves the least, {percent(first['asr'])} of attack success ({_of(first, at)}), at "
        f"{100 * first['ca_lost']:.1f} points."
    )
    if alike:
        named = listed([arena_title(row["method"], methods) for row in alike[:4]])
        said += f" About as good, within a point: {named}."
    return Advice(tuple(row["method"] for row in (first, *alike)), said, limits)


def _rows(found: Mapping[str, Any], num_clean: int) -> tuple[int, Sequence[Row]]:
    """The rows of the nearest number of clean images that is no larger, and that number."""
    usual = int(found["about"]["num_clean"])
    counts = sorted({row["num_clean"] for row in found["images"]} | {usual})
    at = max((count for count in counts if count <= num_clean), default=counts[0])
    if at == usual:
        return at, complete(found["methods"])
    return at, [row for row in found["images"] if row["num_clean"] == at]


def complete(rows: Sequence[Row]) -> list[Row]:
    """The methods that were tried on every attack; the means of others are of fewer."""
    most = max((row["attacks"] for row in rows), default=0)
    return [row for row in rows if row["attacks"] == most]


def _as_good(row: Row, first: Row) -> bool:
    return bool(row["asr"] <= first["asr"] + 0.01)


def _of(row: Row, at: int) -> str:
    attacks = f"{row['attacks']} attacks and " if "attacks" in row else ""
    return f"mean over {attacks}{row['models']} models, {at:,} clean images"


def _nothing(rows: Sequence[Row], means: Means, methods: Methods) -> str:
    """What comes nearest, where nothing fits."""
    if not rows:
        return "Nothing was measured with so few clean images."
    near = min(rows, key=lambda row: (max(0.0, row["ca_lost"] - means.loss), row["seconds"]))
    return (
        f"No method stays within {means.seconds:g} s and {100 * means.loss:.1f} points. Nearest is "
        f"{arena_title(near['method'], methods)}: {near['seconds']:.0f} s and "
        f"{100 * near['ca_lost']:.1f} points."
    )


def _limits(found: Mapping[str, Any], at: int, means: Means) -> tuple[str, ...]:
    limits = [
        "Measured on drawn traffic signs and a residual network of 78,000 parameters, poisoned at "
        "each attack's default rate. Other data, larger networks and lower rates may order the "
        "methods otherwise: race the first two on your own model.",
        "An attack that is none of these may survive all of them.",
    ]
    if at > means.num_clean:
        limits.insert(0, f"Nothing was measured with fewer than {at} clean images.")
    elif at != found["about"]["num_clean"]:
        some = len(found["about"]["some"])
        limits.insert(0, f"With {at:,} clean images only {some} attacks were measured.")
    return tuple(limits)
