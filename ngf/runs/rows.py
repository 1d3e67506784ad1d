"""Runs as rows of a table: one for each lane of a purification, one for any other run.

A row follows from what the folder of a run says and from nothing else, so that an index can keep
it. What is not known, or not yet, is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngf.config import MeasureSpec, PurifySpec, Spec, TrainSpec

Row = dict[str, Any]
RATES = ("ca", "asr", "ra")
_MEASURED = (
    *(name for rate in RATES for name in (rate, f"{rate}_interval")),
    "n_clean",  # images behind CA
    "n_triggered",  # images behind ASR and RA
)


def rows_of(spec: Spec, result: Mapping[str, Any] | None) -> list[Row]:
    """The rows of a run, plain JSON, in the order of its lanes; `Run.rows` puts before them what
    all lanes share.

    result: of a run that is done, else None.

    lane, target: the lane, empty where there is none, and how its model is named: `id` or
        `id:lane`; None for a measurement, which has no model.
    layer, lr, steps: what it was tuned with: as found by the lane, before its end as asked for; of
        a training, whose steps are epochs, its own.
    num_clean: clean images that the defender had.
    ca, asr, ra: shares, with `ca_interval`... (95 %, Wilson) and the counts `n_clean` and
        `n_triggered`.
    seconds: of its own work. version, numbers: of the code; device: what it ran on.
    diverged: `step` and `message` of a lane that ended alone.
    """
    found = result or {}
    if isinstance(spec, PurifySpec):
        return [
            _row(spec, found, name, _of_lane(spec, index, found))
            for index, name in enumerate(spec.lane_names())
        ]
    if isinstance(spec, MeasureSpec):
        seconds = (found.get("values") or {}).get("seconds")
        return [_row(spec, found, "", {"target": None, "seconds": seconds})]
    return [_row(spec, found, "", _of_training(spec, found))]


def _row(spec: Spec, result: Mapping[str, Any], lane: str, about: Mapping[str, Any]) -> Row:
    where = result.get("environment") or {}
    return {
        "lane": lane,
        "target": f"{spec.id}:{lane}" if lane else spec.id,
        "layer": None,
        "lr": None,
        "steps": None,
        "num_clean": None,
        **dict.fromkeys(_MEASURED),
        "der": None,
        "seconds": None,
        "version": where.get("ngf"),
        "numbers": where.get("numbers"),
        "device": where.get("device"),
        "diverged": None,
        **about,
    }


def _of_training(spec: TrainSpec, result: Mapping[str, Any]) -> Row:
    return {
        "lr": spec.training.lr,
        "steps": spec.training.epochs,
        "seconds": result.get("seconds"),
        **_measured(result),
    }


def _of_lane(spec: PurifySpec, index: int, result: Mapping[str, Any]) -> Row:
    choice, name = spec.lanes[index], spec.lane_names()[index]
    found = (result.get("lanes") or {}).get(name) or {}
    # a result without lanes is that of the only one
    after = found.get("after") or (result.get("after") if len(spec.lanes) == 1 else None)
    return {
        "defense": choice.name,
        **{key: found.get(key, choice.options.get(key)) for key in ("layer", "lr", "steps")},
        "num_clean": spec.num_clean,
        "der": found.get("der"),
        "seconds": found.get("seconds"),
        "diverged": found.get("diverged"),
        **_measured(after or {}),
    }


def _measured(rates: Mapping[str, Any]) -> Row:
    return {name: rates.get(name) for name in _MEASURED}
