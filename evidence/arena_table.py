"""What the arena says, in tables: assets/evidence/arena.json, from the rows of `arena`.

Flat rows, so that who shows them needs no statistics. Every model counts once, by its mean over
purification seeds; a mean over attacks counts every attack once. Rates are fractions. The tables:

    methods   each method over all attacks that it was tried on: means, the share of models whose
              ASR is at most 10 %, its mean rank among the methods that all attacks have, what it
              costs benign models, and its paired difference to NGF on all layers
    cells     each attack and method: mean, lowest and highest of the models
    models    each model and method, as it came (`before`) and after
    parts     what each part of NGF does: paired differences of two methods that differ in it
    curves    each attack and method on its way, on one model: `run`, and lists of equal length,
              `step`, `seconds`, `ca`, `asr`
    images, rates, taught, strengths    see `evidence.arena_axes`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evidence import arena, arena_axes, arena_rates, arena_strength, arena_taught
from evidence.arena import METHODS, NUM_CLEAN
from evidence.methods import short
from evidence.shipped import ARENA as PATH
from evidence.shipped import as_text, differs, read_all, write
from evidence.statistics import over_attacks
from evidence.statistics.estimates import Estimate, holm
from ngf.config import Choice
from ngf.defenses.fine_tuning.options import STRENGTHS

NONE = "none"  # the attack of a benign model
BEFORE = "before"  # the method of a model that was not purified
AGAINST = "ngf_all"  # what every method is compared with
GONE = 0.1  # an ASR that counts as removed, as in the shares that others publish
DIGITS = 5
_LAYERS = {"all": "all layers", "last": "last layer"}
AXES = ("images", "rates", "taught", "strengths")
DRAWS = 2000  # of attacks, for the interval of a mean rank
PARTS = (  # (what, the method with it, the method without it)
    ("all layers, not one", "ngf_all", "ngf"),
    ("the natural gradient, not the gradient, at equal KL", "ngf_all", "gradient_all"),
    ("steps of equal KL, not a learning rate", "gradient_all", "ft"),
    ("strong augmentation, not weak", "ngf_all", "ngf_weak"),
    ("the Fisher regularizer (eta 1), not none", "ngf_pulled", "ngf_all"),
    ("a radius of 0.03, not 0.01", "ngf_strong", "ngf_all"),
)
MEASURED = (
    "asr",
    "ra",
    "der",
    "ca_lost",
    "asr_reactivated",
    "seconds",
    "changed",
    "sharpness",
)
Row = dict[str, Any]


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per purification that ended. seed: the model's. sharpness: the largest eigenvalue of
    the Hessian after it over that before.
    """
    return pd.DataFrame(
        [
            {
                "attack": row["attack"],
                "seed": row["model_seed"],
                "run": row["run"],
                "purification_seed": row["seed"],
                "method": row["method"],
                "num_clean": row["num_clean"],
                "ca": row["ca"],
                "ca_lost": row["before"]["ca"] - row["ca"],
                "asr": row["asr"],
                "ra": row["ra"],
                "der": row.get("der"),
                "asr_reactivated": row.get("asr_reactivated"),
                "seconds": row["seconds"],
                "changed": row["changed"],
                "sharpness": _ratio(row, "lambda_max"),
            }
            for row in rows
            if "ca" in row
        ]
    )


def _ratio(row: Mapping[str, Any], name: str) -> float | None:
    before = row["before"].get(name)
    return row[name] / before if before and name in row else None


def by_model(found: pd.DataFrame) -> pd.DataFrame:
    """Each model and method once, by its mean over purification seeds."""
    keys = ["attack", "seed", "run", "method", "num_clean"]
    means = found.groupby(keys, as_index=False)[["ca", *MEASURED]].mean()
    counts = found.groupby(keys, as_index=False).size()
    return means.merge(counts, on=keys).rename(columns={"size": "purification_seeds"})


def ranks(models: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Mean rank over attacks of each method that all attacks have, by the mean ASR of its models,
    1 the least; with the 95 % interval of a bootstrap over attacks.
    """
    table = models.pivot_table(index="attack", columns="method", values="asr")
    table = table.dropna(axis=1)
    if table.empty or len(table) < 2:
        return {}
    by_attack = table.rank(axis=1).to_numpy()
    rng = np.random.default_rng(0)
    drawn = by_attack[rng.integers(len(by_attack), size=(DRAWS, len(by_attack)))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    mean = by_attack.mean(0)
    return {
        str(name): (float(mean[k]), float(low[k]), float(high[k]))
        for k, name in enumerate(table.columns)
    }


def differences(found: pd.DataFrame) -> dict[str, Estimate]:
    """How much more ASR each method leaves than NGF on all layers, on the same models with the
    same purification seeds; p adjusted by Holm over the methods.
    """
    ngf = found[found["method"] == AGAINST]
    made = {}
    for name in METHODS:
        own = found[found["method"] == name]
        if name == AGAINST or own.empty or ngf.empty:
            continue
        one = over_attacks.difference(own, ngf, "asr")
        if one is not None and one.p is not None:
            made[name] = one
    return holm(made) if made else {}


def methods(found: pd.DataFrame, failed: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per method. found: purifications with the usual number of clean images."""
    found = found[found["method"].isin(METHODS)]
    attacked, benign = found[found["attack"] != NONE], found[found["attack"] == NONE]
    models = by_model(attacked)
    places, against = ranks(models), differences(attacked)
    out = []
    for name in METHODS:
        own = models[models["method"] == name]
        bad = [row for row in failed if row["method"] == name and row["num_clean"] == NUM_CLEAN]
        if own.empty and not bad:
            continue
        by_attack = own.groupby("attack")[[*MEASURED]].mean()
        row: Row = {
            "method": name,
            "attacks": len(by_attack),
            "models": len(own),
            "diverged": sum("diverged" in one for one in bad),
            "refused": sum("refused" in one for one in bad),
            **{key: _rounded(by_attack[key].mean()) for key in MEASURED},
            "seconds": _rounded(own["seconds"].median()),
            "gone": _rounded((own["asr"] <= GONE).mean()) if len(own) else None,
            "gone_with_every_model": int((own.groupby("attack")["asr"].max() <= GONE).sum()),
            "benign_ca_lost": _rounded(benign[benign["method"] == name]["ca_lost"].mean()),
        }
        row["rank"], row["rank_low"], row["rank_high"] = map(
            _rounded, places.get(name, (None, None, None))
        )
        one = against.get(name)
        row["more"] = one and _rounded(one.value)
        row["more_low"], row["more_high"] = (one and _rounded(v) for v in _ends(one))
        row["more_p"] = one and one.p_adjusted and float(f"{one.p_adjusted:.2g}")
        out.append(row)
    return out


def _ends(one: Estimate | None) -> tuple[float | None, float | None]:
    return (one.low, one.high) if one else (None, None)


def cells(models: pd.DataFrame) -> list[Row]:
    """One row per attack and method."""
    out = []
    for (attack, method), own in models.groupby(["attack", "method"]):
        row: Row = {"attack": attack, "method": method, "models": len(own)}
        for key in MEASURED:
            row[key] = _rounded(own[key].mean())
        row["asr_low"], row["asr_high"] = _rounded(own["asr"].min()), _rounded(own["asr"].max())
        row["lost_low"], row["lost_high"] = (
            _rounded(own["ca_lost"].min()),
            _rounded(own["ca_lost"].max()),
        )
        out.append(row)
    return _in_order(out)


def each_model(models: pd.DataFrame, files: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per model as it came, then one per method."""
    kept = ("ca", "ca_lost", "asr", "ra", "asr_reactivated", "purification_seeds")
    out = [
        {
            "attack": file["attack"],
            "seed": file["model_seed"],
            "run": file["run"],
            "method": BEFORE,
            **{key: file["before"].get(key) for key in ("ca", "asr", "ra")},
        }
        for file in files
    ]
    for row in models.to_dict("records"):
        own = {key: row[key] for key in ("attack", "seed", "run", "method")}
        out.append(own | {key: _rounded(row[key]) for key in kept})
    return _in_order(out)


def parts(found: pd.DataFrame) -> list[Row]:
    """One row per part of NGF: what is left and lost with it less what is without it, on the same
    models with the same purification seeds; p adjusted by Holm over the parts.
    """
    made: dict[str, dict[str, Estimate]] = {}
    for what, one, other in PARTS:
        has, lacks = (found[found["method"] == name] for name in (one, other))
        if has.empty or lacks.empty:
            continue
        both = {key: over_attacks.difference(has, lacks, key) for key in ("asr", "ca_lost")}
        kept = {key: value for key, value in both.items() if value is not None}
        if len(kept) == len(both) and kept["asr"].p is not None:
            made[what] = kept
    adjusted = holm({what: of["asr"] for what, of in made.items()})
    return [
        {
            "what": what,
            "one": one,
            "other": other,
            "attacks": adjusted[what].count.attacks,
            "models": adjusted[what].count.models,
            "asr": _rounded(adjusted[what].value),
            "asr_low": _rounded(adjusted[what].low),
            "asr_high": _rounded(adjusted[what].high),
            "p": float(f"{adjusted[what].p_adjusted:.2g}"),
            "ca_lost": _rounded(made[what]["ca_lost"].value),
            "ca_lost_low": _rounded(made[what]["ca_lost"].low),
            "ca_lost_high": _rounded(made[what]["ca_lost"].high),
        }
        for what, one, other in PARTS
        if what in made
    ]


def curves(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per attack and method whose way was followed to its end."""
    return _in_order(
        [
            {**{key: row[key] for key in ("attack", "method", "run")}, **row["curve"]}
            for row in rows
            if "curve" in row and "ca" in row
        ]
    )


def _in_order(rows: list[Row]) -> list[Row]:
    """Attack by attack, and methods as in `METHODS`."""
    order = {name: k for k, name in enumerate((BEFORE, *METHODS))}
    return sorted(
        (row for row in rows if row["method"] in order),
        key=lambda row: (
            row["attack"],
            row.get("seed", 0),
            order[row["method"]],
        ),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), DIGITS)


def about(files: Sequence[Mapping[str, Any]]) -> Row:
    plan = [trial for spec in arena.specs() for trial in arena.planned(spec)]
    environments = {tuple(sorted(file["environment"].items())): None for file in files}
    return {
        "models": len(files),
        "models_planned": len(arena.specs()),
        "rows": sum(len(file["rows"]) for file in files),
        "rows_planned": len(plan),
        "num_clean": NUM_CLEAN,
        "poisoned": arena.POISONED,
        "gone": GONE,
        "some": list(arena.SOME),
        "watched": arena.WATCHED,
        "rates_attack": arena_rates.ATTACK,
        "methods": {name: _lane(name) for name in METHODS},
        "environments": [dict(one) for one in environments],
    }


def _lane(name: str) -> Row:
    """A method as a lane of a purification, and what it is called."""
    choice = METHODS[name]
    return {"name": choice.name, "options": dict(choice.options), "title": title(choice)}


def title(choice: Choice) -> str:
    """`NGF, all layers, radius 0.03`: the defense, and what differs from its defaults."""
    said = [short("defenses", choice.name)]
    for option, value in choice.options.items():
        words = STRENGTHS.get(option, option)
        said.append(_LAYERS[str(value)] if option == "layer" else f"{words} {value}")
    return ", ".join(said)


def tables() -> Row:
    """What arena.json holds; empty tables where nothing was measured yet."""
    files, rows = read_all(arena.FOLDER), arena.rows()
    found = frame(rows)
    failed = [row for row in rows if "ca" not in row]
    if found.empty:
        names = ("methods", "cells", "models", "parts", "curves", *AXES)
        empty = dict.fromkeys(names, ())
        return {"about": about(files), **{name: list(rows) for name, rows in empty.items()}}
    found[[*MEASURED]] = found[[*MEASURED]].astype(float)
    usual = found[found["num_clean"] == NUM_CLEAN]
    models = by_model(usual[usual["method"].isin(METHODS)])
    return {
        "about": about(files),
        "methods": methods(usual, failed),
        "cells": cells(models),
        "models": each_model(models, files),
        "parts": parts(usual[usual["attack"] != NONE]),
        "curves": curves(rows),
        "images": arena_axes.images(found),
        "rates": arena_axes.rates(arena_rates.rows()),
        "taught": arena_axes.taught(arena_taught.rows()),
        "strengths": arena_axes.strengths(rows, arena_strength.rows()),
    }


def missing() -> list[str]:
    return ["arena.json"] if differs(PATH, as_text(tables())) else []


def make(name: str) -> None:
    found = tables()
    write(PATH, found)
    have = found["about"]
    print(f"{have['rows']:,} of {have['rows_planned']:,} rows of {have['models']} models")
