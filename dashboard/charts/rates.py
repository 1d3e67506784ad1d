"""The three rates: what they are called, and how their curves and columns are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.charts.pixels import per_pixel
from dashboard.charts.style import IMAGES, Mark, Trace, line
from ngf.config import NUM_LIVE

Event = Mapping[str, Any]  # one line of events.jsonl
_THICK, _THIN = 4.0, 1.75  # the curve that a reader is to follow, and the others
SHARE = f"Share of test images (%), n ≤ {NUM_LIVE}"  # of curves: the ends are measured on all
AXIS = {"range": [-3, 103], "tickvals": [0, 25, 50, 75, 100]}  # of shares in percent


@dataclass(frozen=True)
class Rate:
    """One rate; its mark is that of the images that it is measured on."""

    key: str
    name: str
    short: str
    mark: Mark


RATES = (
    Rate("ca", "Clean accuracy", "CA", IMAGES["clean"]),
    Rate("asr", "Attack success rate", "ASR", IMAGES["triggered_target"]),
    Rate("ra", "Robust accuracy", "RA", IMAGES["triggered_true"]),
)


def percents(rate: float | None) -> float | None:
    """A share as it is drawn and tabulated: in percent, without digits that nobody measured."""
    return None if rate is None else round(100 * rate, 3)


def rate_columns(numbers: Mapping[str, Any]) -> dict[str, float | None]:
    """The columns of a table."""
    return {f"{rate.name} (%)": percents(numbers.get(rate.key)) for rate in RATES}


def rate_curve(
    rate: Rate, events: Sequence[Event], name: str, color: str, **more: Any
) -> Trace | None:
    """The curve of a rate over the events that know it; None where none does."""
    seen = [event for event in events if event.get(rate.key) is not None]
    if not seen:
        return None
    steps, values = per_pixel(
        [event["step"] for event in seen], [event[rate.key] for event in seen]
    )
    found = line(
        name,
        steps,
        [percents(value) for value in values],
        color,
        dash=rate.mark.dash,
        symbol=rate.mark.symbol,
        every=max(1, len(steps) // 25),
        **more,
    )
    found["line"]["width"] = _THICK if rate.key == "asr" else _THIN
    return found
