"""How well the yardstick that needs no trigger ranks purified models by their true attack success:
assets/evidence/surrogate.json.

The model of seed 0 of every attack on signs, purified by the lanes that ship
(`evidence.recordings`) and by some more, so that of each model there are defenses that work and
some that do not. The yardstick (`analysis.measurements.yardstick`, with its defaults) sees clean
test images alone; what opens a model is searched for once. The attack success is that of the
purification's own result, on the whole test set.

    models, lanes   how many there are
    overall, within Spearman's rank correlation of each number of `NUMBERS` with the attack success
                    after purification: over all lanes, and within each model, mean over models;
                    bootstrap intervals over models (`evidence.statistics.ranking`)
    pairs           of two lanes of one model whose attack success differs by `FAR` or more: how
                    many, and in how many of them the one that keeps more has the higher `left`
    class_is_target in how many models the suspicious class is the target
    rows            a lane each: run (the model before), attack, method, target (class), asr_before,
                    asr, ca, and the yardstick's values

`left` was chosen to rank before any of this was measured; the others are told beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from analysis.execute import images_of
from analysis.measurements.yardstick import Held, Search, Yardstick, moved
from analysis.model_under_test import frozen_copy
from evidence.computing import Failed, of_zoo, purified
from evidence.detectors import short
from evidence.recordings import specs
from evidence.shipped import SURROGATE, read, write
from evidence.statistics.ranking import overall, within
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, MeasureSpec, Target
from ngf.environment import environment
from ngf.runs.recorded import LANES
from ngf.runs.store import PurifyRun, Store

YARDSTICK = Choice("yardstick")
RECORDED = dict(zip(("ngf", "sgd"), LANES, strict=True))
FURTHER = {
    "ft_last": Choice("sgd", {"layer": "last"}),
    "fst": Choice("fst"),
    "nft": Choice("nft"),
    "clp": Choice("clp"),
}
Methods = dict[str, Choice]
GROUPS: tuple[Methods, ...] = (RECORDED, FURTHER)
NUMBERS = ("left", "universal_after", "trigger_after", "moved")
FAR = 0.1  # of the attack success: a difference that matters
KEPT = (
    *("suspicious_class", "universal_before", "universal_after", "trigger_before"),
    *("trigger_after", "opened", "left", "left_low", "left_high", "moved", "n"),
)
Row = dict[str, Any]


def missing() -> list[str]:
    """A model for each group of its methods that has no rows yet; lanes that ship come first, for
    they need no purification.
    """
    return [
        spec.parent for group in GROUPS for spec in specs() if group in todo(spec.parent, _rows())
    ]


def todo(run_id: str, rows: Sequence[Row]) -> list[Methods]:
    known = {row["method"] for row in rows if row["run"] == run_id}
    return [group for group in GROUPS if not known.issuperset(group)]


def make(run_id: str) -> None:
    """Measure the next group of purifications of one model, and make the table of all."""
    group = todo(run_id, _rows())[0]
    made = list(rows_of(Store(), _race(run_id, group), list(group), YARDSTICK))
    there = [row for row in _rows() if row["run"] != run_id or row["method"] not in group]
    write(SURROGATE, {**table([*there, *made]), "environment": environment()})
    for row in made:
        print(f"{row['run']} {row['method']}: ASR {row['asr']}, left {row['left']}", flush=True)


def _race(run_id: str, group: Methods) -> PurifyRun:
    if group is not RECORDED:
        return purified(Store(), of_zoo(Store(), run_id).id, tuple(group.values()))
    (asked,) = (spec for spec in specs() if spec.parent == run_id)
    run = Store().find(asked.id)
    if not isinstance(run, PurifyRun):
        raise Failed(f"{asked.id} is not recorded yet: python -m evidence recordings")
    return run


def rows_of(store: Store, race: PurifyRun, methods: list[str], yardstick: Choice) -> Iterator[Row]:
    """A row for each lane of a purification.

    methods: what the lanes are called, in their order.
    """
    origin = of_zoo(store, race.spec.parent)
    measurement: Yardstick = build("measurements", yardstick)
    asked = MeasureSpec(target=origin.id, measurement=yardstick)
    images, labels = images_of(measurement, asked, store)
    before = frozen_copy(load_model(store, origin.id).model, images, labels)
    search = Search(measurement, before, images, labels, asked.seed)
    for _ in search.run():
        pass
    held = Held(search.openers(), before, images, labels)
    result = race.finished()
    for method, lane in zip(methods, race.spec.lane_names(), strict=True):
        model = load_model(store, str(Target(race.id, lane))).model
        after = frozen_copy(model, images, labels)
        values = {**held.against(after)[0], **moved(before, after, images), "n": len(images)}
        rates = result["lanes"][lane]["after"]
        yield {
            "run": origin.id,
            "attack": origin.spec.attack.name,
            "method": method,
            "target": getattr(load_attack(origin), "target", None),
            "asr_before": short(result["before"]["asr"]),
            "asr": short(rates["asr"]),
            "ca": short(rates["ca"]),
            **{name: short(values[name]) for name in KEPT},
        }


def table(rows: Sequence[Row]) -> Row:
    """What the file holds beside the environment."""
    rows = sorted(rows, key=lambda row: (row["run"], [*RECORDED, *FURTHER].index(row["method"])))
    known = [row for row in rows if row["left"] is not None]
    models = np.array([row["run"] for row in known])
    asr = np.array([row["asr"] for row in known], dtype=float)
    numbers = {name: np.array([row[name] for row in known], dtype=float) for name in NUMBERS}
    each = {row["run"]: row["suspicious_class"] == row["target"] for row in known}
    return {
        "models": len(each),
        "lanes": len(known),
        "overall": {
            name: _short(overall(values, asr, models).as_json()) for name, values in numbers.items()
        },
        "within": {
            name: _short(within(values, asr, models).as_json()) for name, values in numbers.items()
        },
        "pairs": pairs(known),
        "class_is_target": sum(each.values()),
        "rows": rows,
    }


def pairs(rows: Sequence[Row]) -> dict[str, int]:
    """Of two lanes of one model with attack success far apart: how many, and how many of them
    `left` puts in the same order.
    """
    far = [
        (one, other)
        for one, other in itertools.permutations(rows, 2)
        if one["run"] == other["run"] and one["asr"] - other["asr"] >= FAR
    ]
    return {"far": len(far), "same_order": sum(a["left"] > b["left"] for a, b in far)}


def _short(found: Row) -> Row:
    return {name: short(value) for name, value in found.items()}


def _rows() -> list[Row]:
    return read(SURROGATE)["rows"] if SURROGATE.exists() else []
