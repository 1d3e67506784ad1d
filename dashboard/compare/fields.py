"""The fields by which runs are told apart, colored and grouped, read from what was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dashboard.charts.compared import Value
from dashboard.charts.differences import MODEL_FIELDS
from dashboard.charts.style import number
from dashboard.charts.titles import UNKNOWN, lane_title, short
from ngf.catalogue import catalogue
from ngf.config import PurifySpec, TrainSpec

NONE = Value("none", "not purified", (2,))  # a training, in a field of purifications
_LAST = 10**6


def of_training(spec: TrainSpec | None) -> dict[str, Value]:
    """The fields of a model; unknown where its training was deleted."""
    if spec is None:
        return dict.fromkeys(MODEL_FIELDS, Value("unknown", "unknown", (3,)))
    return {
        "attack": Value("unknown", UNKNOWN.lower(), (3,))
        if spec.imported
        else _plugin("attacks", spec.attack.name),
        "data": _plugin("data", spec.data),
        "network": _plugin("models", spec.model),
        "model_seed": Value(str(spec.seed), str(spec.seed), (0, spec.seed)),
    }


def of_purification(
    spec: PurifySpec, lane: str, row: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Value]:
    """The fields of a lane.

    row: of `ngf.runs.rows`. about: what the result says of the lane.
    """
    return {
        "method": _method(spec.lanes[spec.lane_names().index(lane)].name),
        "seed": Value(str(spec.seed), str(spec.seed), (0, spec.seed)),
        "layer": _layer(row["layer"]),
        "rate": _rate(row["lr"], about.get("strength")),
        "num_clean": Value(str(spec.num_clean), f"{spec.num_clean:,}", (0, spec.num_clean)),
    }


def named(field: str, value: Value) -> str:
    """A value as a part of a name: `seed 3`, where the number alone would say nothing."""
    before = {"model_seed": "model seed ", "seed": "seed "}
    after = {"num_clean": " clean images"}
    if value == NONE:
        return ""
    return f"{before.get(field, '')}{value.words}{after.get(field, '')}"


def _plugin(kind: str, name: str) -> Value:
    known = list(catalogue()[kind])
    place = known.index(name) if name in known else _LAST
    return Value(_key(name), short(kind, name), (0, name != "none", place, name))


def _method(name: str) -> Value:
    known = list(catalogue()["defenses"])
    place = known.index(name) if name in known else _LAST
    return Value(_key(name), lane_title(name), (0, name != "ngf", place, name))


def _layer(layer: Any) -> Value:
    """Which layers were tuned; the text comes from a result, where anybody may have written."""
    if not isinstance(layer, str) or not layer:
        return Value("whole", "whole model", (1,))
    words = re.sub(r"[^\w.,\- ]", "?", layer)[:60]
    return Value(
        _key(layer), {"all": "all layers", "last": "last layer"}.get(words, words), (0, words)
    )


def _rate(rate: Any, strength: Any) -> Value:
    if not isinstance(rate, (int, float)) or isinstance(rate, bool):
        return Value("unset", "no learning rate", (1,))
    kind = "radius" if strength == "trust_region" else "learning rate"
    return Value(f"{kind} {rate:g}", f"{kind} {number(rate)}", (0, kind, float(rate)))


def _key(text: str) -> str:
    """A name as an address may hold it."""
    return re.sub(r"[^\w.,:\- ]", "_", text)[:200] or "_"
