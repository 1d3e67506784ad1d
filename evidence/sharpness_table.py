"""From assets/evidence/minima and minima_purified: are backdoored minima sharper, are purified ones
smoother, which measure tells them apart, and what of it is clean loss?

Makes assets/evidence/sharpness.json, of whatever files are there: lists of flat rows, one row per
line. Everything is of one data set and one kind of images (`train` or `test`), which each row names
first.

    models     final models and the checkpoints of benign trainings: loss, ca and measures
    purified   what each method made of a model with each purification seed, at its last step
    along      the way there: geometric means over models and the purifications that were followed
    effects    ratios with 95 % intervals. question: `backdoored` (against benign models) or
               `purified` (against the same model before). compared: `raw`; `loss` and `ca`, at the
               same clean loss or accuracy as benign models along their training; `direct`, what a
               mediation leaves beside the loss. attack: `all`, or one, shrunken towards all.
    shares     how much of the raw log ratio goes with the clean loss
    detectors  AUC of telling a backdoored model of an attack that was left out from a benign one;
               `found` and `false_alarms` at the threshold learned from the other attacks
    left_out   measures that have no logarithm on some model, and so no ratio
    of         what it was made of, as a digest: the statistics take minutes, so nothing is made
               again while the files are the same

A ratio that too few models are there for is not there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.measures import MEASURES as KNOWN
from evidence.shipped import MINIMA, MINIMA_PURIFIED, SHARPNESS, read, read_all
from evidence.statistics import detector, hierarchy, loss, purification
from evidence.statistics.estimates import Count, Estimate, holm
from evidence.statistics.tables import BENIGN
from ngf.runs.files import plain, write_atomic

ALL = "all"  # in place of an attack: the effect over attacks
TOGETHER = "all measures"  # in place of a measure
# Tr(H) = Tr(F) in these networks (see `evidence.minima`): one measure, not two.
MEASURES = {
    "lambda_max": "Largest Hessian eigenvalue",
    "fisher_trace": "Trace of the Hessian",
    "batch_lambda_max_median": "Largest eigenvalue on mini-batches, median",
    "batch_lambda_max_mean": "Largest eigenvalue on mini-batches, mean",
    **{
        name: KNOWN[name].title
        for name in (
            "filter_lambda_max",
            "asam_sharpness",
            "fisher_rao_norm",
            "relative_flatness",
            "function_sharpness",
        )
    },
    "input_lambda_max_median": "Input Hessian, largest eigenvalue, median image",
    "input_lambda_max_mean": "Input Hessian, largest eigenvalue, mean",
    "input_trace_median": "Input Hessian, trace, median image",
    "input_trace_mean": "Input Hessian, trace, mean",
}
INVARIANT = [name for name in MEASURES if name in KNOWN and KNOWN[name].invariant]
# Those of them that are measured at every checkpoint, as one: their geometric mean.
COMPOSITE = "invariant"
COMBINED = ("asam_sharpness", "fisher_rao_norm", "relative_flatness", "function_sharpness")
CONTROL = "loss"  # what a detector would reach that knows no sharpness
TITLES = {
    **MEASURES,
    COMPOSITE: "Four measures that no rescaling changes, together",
    CONTROL: "Clean loss alone",
    TOGETHER: "All of these measures together",
}
IMAGES = ("train", "test")
DIGITS = 5  # what is kept of a number
KEYS = ("data", "images", "attack", "seed", "kind", "step", "steps")
ALONG = ("loss", "ca", "lambda_max", "fisher_trace")
Row = dict[str, Any]


# ---- what was measured


def rows_of(files: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `evidence.minima` on training and test images, those without a loss left out."""
    found = pd.DataFrame([row for file in files for row in file["rows"]])
    if found.empty:
        return pd.DataFrame(columns=[*KEYS, "run", "method", "purification_seed", "ca", CONTROL])
    found = found[found["images"].isin(IMAGES) & found[CONTROL].notna()].reset_index(drop=True)
    parts = found.reindex(columns=[*COMBINED]).astype(float)
    found[COMPOSITE] = np.exp(np.log(parts.where(parts > 0).to_numpy(float)).mean(axis=1))
    return found


def measured(models: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The measures that are above 0 wherever they were measured, and those that are not."""
    there = [name for name in MEASURES if name in models and models[name].notna().any()]
    sound = [name for name in there if (models[name].dropna() > 0).all()]
    return sound, [name for name in there if name not in sound]


def groups(rows: pd.DataFrame) -> Iterator[tuple[Row, pd.DataFrame]]:
    """The rows of each data set and kind of images; signs and training images first."""
    for data in sorted(rows["data"].unique(), key=lambda name: (name != "signs", name)):
        for images in IMAGES:
            of = rows[(rows["data"] == data) & (rows["images"] == images)]
            if len(of):
                yield {"data": data, "images": images}, of.reset_index(drop=True)


def enough(models: pd.DataFrame) -> bool:
    """For a ratio over attacks: two of them, and three benign models."""
    attacked = models["attack"] != BENIGN
    return models.loc[attacked, "attack"].nunique() >= 2 and int((~attacked).sum()) >= 3


# ---- backdoored against benign


def backdoored(of: pd.DataFrame, measures: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """Effects and shares of one data set and kind of images."""
    final = of[of["kind"] == "final"].dropna(subset=[*measures])
    if not measures or not enough(final):
        return [], []
    told, shares = [], []
    every = [*measures, *_composite(final)]
    for effect in (
        *hierarchy.effects(final, measures),
        *(hierarchy.effects(final, [COMPOSITE]) if COMPOSITE in every else []),
    ):
        told.append(_effect("backdoored", "raw", effect.measure, effect.overall))
        told += [
            _effect("backdoored", "raw", effect.measure, one, attack=attack)
            for attack, one in effect.attacks.items()
        ]
    told += _at_equal_loss(of, final, every)
    for name in every:
        found = loss.mediation(final, name)
        told.append(_effect("backdoored", "direct", name, found.direct))
        passed = found.share  # None where there is no clear difference to share
        shares.append(
            {"measure": name, "n": count(found.direct.count)}
            | {"through": found.through_loss.value, "slope": found.slope.value}
            | {key: getattr(passed, part) if passed else None for key, part in _SHARE.items()}
        )
    return told, shares


def _composite(models: pd.DataFrame) -> list[str]:
    """Its name, where every model has all that it is made of."""
    return [COMPOSITE] if models[COMPOSITE].notna().all() else []


_SHARE = {"share": "value", "low": "low", "high": "high"}


def _at_equal_loss(of: pd.DataFrame, final: pd.DataFrame, measures: Sequence[str]) -> list[Row]:
    """Of the measures that benign models have on their way, Holm over them."""
    attacked = final[final["attack"] != BENIGN]
    ways = {name: benign_way(of, name) for name in measures}
    found = {
        name: loss.at_matched_loss(way, attacked, name)
        for name, way in ways.items()
        if is_a_way(way)
    }
    overall = adjusted({name: one.overall for name, one in found.items() if one.overall})
    told = []
    for name, one in overall.items():
        told.append(_effect("backdoored", "loss", name, one, told=found[name].told))
        told += [
            _effect("backdoored", "loss", name, of_attack, attack=attack)
            for attack, of_attack in found[name].attacks.items()
        ]
    return told


def adjusted(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Holm over measures; what is made of several of them is none of the family."""
    family = holm({name: one for name, one in found.items() if name != COMPOSITE})
    return {**found, **family}


def benign_way(of: pd.DataFrame, name: str) -> pd.DataFrame:
    """Benign models and checkpoints that have this measure, without a model measured twice."""
    benign = of[(of["attack"] == BENIGN) & of["kind"].isin(("final", "checkpoint"))]
    return benign[benign[name].notna()].drop_duplicates(["seed", "step"])


def is_a_way(reference: pd.DataFrame) -> bool:
    """Whether at least three trainings were measured on their way."""
    return int((reference.groupby("seed")["step"].nunique() > 1).sum()) >= 3


# ---- purified against before


def purified(of: pd.DataFrame, purifications: pd.DataFrame, measures: Sequence[str]) -> list[Row]:
    """Effects of each method on one data set and kind of images.

    of: rows of `minima`; purifications: last rows of `minima_purified`.
    """
    told: list[Row] = []
    models = of[(of["kind"] == "final") & (of["attack"] != BENIGN)]
    for method, after in purifications.groupby("method", sort=False):
        known = [
            name
            for name in measures
            if after[name].notna().all() and (after[name] > 0).all() and models[name].notna().all()
        ]
        after = after[after["run"].isin(models["run"])]
        before = models[models["run"].isin(after["run"])]
        if not known or after["attack"].nunique() < 2:
            continue
        changed = dict(zip(known, purification.changes(before, after, known), strict=True))
        if _composite(before) and _composite(after):
            (changed[COMPOSITE],) = purification.changes(before, after, [COMPOSITE])
        for name, one in changed.items():
            told.append(_effect("purified", "raw", name, one, method=str(method)))
        ways = {name: way for name in changed if is_a_way(way := benign_way(of, name))}
        for by in purification.SCALES:
            found = {
                name: purification.change_at_matched(way, before, after, name, by=by)
                for name, way in ways.items()
            }
            at = {name: one.after_to_before for name, one in found.items() if one.after_to_before}
            for name, change in adjusted(at).items():
                more = {"method": str(method), "told": found[name].told}
                told.append(_effect("purified", by, name, change, **more))
    return told


def last_steps(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["step"] == rows["steps"]].reset_index(drop=True)


def along(rows: pd.DataFrame) -> list[Row]:
    """Geometric means of what is measured along purifications: over the purification seeds of a
    model, then over models, where all purifications of a method were measured at that step. One
    that was measured at its last step alone is left out.
    """
    told = []
    one = rows.groupby(["method", "run", "purification_seed"])["step"]
    rows = rows[one.transform("size") > 1]
    names = [name for name in ALONG if name in rows]
    for (method, step), of in rows.groupby(["method", "step"], sort=True):
        every = rows[rows["method"] == method].groupby(["run", "purification_seed"]).ngroups
        if len(of) < every or of[names].isna().any(axis=None):
            continue
        logs = of.assign(**{name: np.log(of[name].clip(lower=1e-12)) for name in names})
        means = np.exp(logs.groupby("run")[names].mean().mean())
        told.append(
            {"method": method, "step": int(str(step)), **means.to_dict()}
            | {"models": of["run"].nunique(), "purifications": len(of)}
        )
    return told


# ---- which measure tells them apart


def detectors(of: pd.DataFrame, measures: Sequence[str]) -> list[Row]:
    """By each measure, by all of them, and by the clean loss alone."""
    final = of[of["kind"] == "final"].dropna(subset=[*measures])
    if not measures or not enough(final):
        return []
    told = []
    asked = {name: [name] for name in (*measures, CONTROL)}
    if len(measures) > 1:
        asked[TOGETHER] = list(measures)
    for name, by in asked.items():
        found = detector.leave_one_attack_out(final, by)
        for attack, one in {ALL: found.mean, **found.auc}.items():
            row = {"measure": name, "attack": attack, "auc": one.value}
            row |= {"low": one.low, "high": one.high, "n": count(one.count)}
            row["found"] = (
                float(np.mean([*found.found.values()])) if attack == ALL else found.found[attack]
            )
            row["false_alarms"] = found.false_alarms if attack == ALL else None
            told.append(row)
    return told


# ---- the file


def count(of: Count) -> Row:
    """What a number rests on, without what it has nothing to do with."""
    return {name: value for name, value in vars(of).items() if value}


def _effect(
    question: str,
    compared: str,
    measure: str,
    found: Estimate,
    *,
    attack: str = ALL,
    method: str = "",
    told: str = "",
) -> Row:
    p = found.p if found.p_adjusted is None else found.p_adjusted
    row: Row = {"question": question, "method": method, "compared": compared}
    row |= {"measure": measure, "attack": attack}
    row |= {"ratio": found.value, "low": found.low, "high": found.high, "p": p}
    row |= {"holm": found.p_adjusted is not None, "n": count(found.count), "told": told}
    return {key: value for key, value in row.items() if value != ""}


def table() -> Row:
    """What sharpness.json holds."""
    files, later = read_all(MINIMA), read_all(MINIMA_PURIFIED)
    rows, purifications = rows_of(files), rows_of(later)
    out: dict[str, Any] = {
        "of": digest(),
        "measures": [
            {"name": name, "title": title, "invariant": name in INVARIANT}
            for name, title in TITLES.items()
        ],
        "num_images": int(rows["n"].max()) if len(rows) else 0,
        "hardware": files[0]["environment"] if files else {},
        **{name: [] for name in _LISTS},
    }
    for where, of in groups(rows):
        measures, left_out = measured(of)
        own = purifications
        if len(own):
            own = own[(own["data"] == where["data"]) & (own["images"] == where["images"])]
        last = last_steps(own)
        shown = [CONTROL, "ca", *measures, COMPOSITE]
        told, shares = backdoored(of, measures)
        found = {
            "models": _records(of, [*KEYS, *shown]),
            "purified": _records(last, [*KEYS, "method", "purification_seed", *shown]),
            "along": along(own),
            "effects": told + purified(of, last, measures),
            "shares": shares,
            "detectors": detectors(of, measures),
            "left_out": [{"measure": name} for name in left_out],
        }
        for name, made in found.items():
            out[name] += [{**where, **row} for row in made]
    return out


_LISTS = ("models", "purified", "along", "effects", "shares", "detectors", "left_out")


def _records(rows: pd.DataFrame, columns: Sequence[str]) -> list[Row]:
    kept = rows[[name for name in columns if name in rows]]
    return [
        {str(key): value for key, value in row.items() if not _is_nothing(value)}
        for row in kept.to_dict("records")
    ]


def _is_nothing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def as_text(found: Mapping[str, Any]) -> str:
    """JSON with one row per line."""

    def told(value: Any) -> str:
        return json.dumps(_rounded(value), ensure_ascii=False, allow_nan=False)

    parts = [f" {json.dumps(name)}: " + _lines(value, told) for name, value in plain(found).items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(value: Any, told: Any) -> str:
    if not isinstance(value, list) or not value:
        return str(told(value))
    return "[\n  " + ",\n  ".join(told(row) for row in value) + "\n ]"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def digest() -> str:
    """Of all files that the table is made of."""
    found = hashlib.sha256()
    for folder in (MINIMA, MINIMA_PURIFIED):
        for path in sorted(folder.glob("*.json")):
            found.update(path.name.encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


def missing() -> list[str]:
    """The table, when it was made of other files."""
    made_of = read(SHARPNESS)["of"] if SHARPNESS.exists() else ""
    return [SHARPNESS.name] if made_of != digest() else []


def make(name: str) -> None:
    made = table()
    write_atomic(SHARPNESS, as_text(made))
    counts = ", ".join(f"{len(made[of]):,} {of}" for of in _LISTS)
    print(f"{name}: {counts}", flush=True)
