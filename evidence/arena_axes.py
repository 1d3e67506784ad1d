"""What the arena's methods leave when one thing about the defense is another, in tables of
assets/evidence/arena.json; rates are fractions, means over models.

    images      each number of clean images and method, on the models of `SOME` of seed 0
    rates       each poisoning rate and method, on the models of `arena_rates`
    taught      each attack: what the tuning of a reactivation teaches a benign network of it
    strengths   each method on the models of `arena_strength`: by default, by rule and by an oracle
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from evidence import arena, arena_strength
from evidence.arena import METHODS, NUM_CLEAN
from ngf.defenses.strength import TOLERATED_DROP

_DIGITS = 5
_ROUNDING = 1e-9  # a drop of exactly one point is within a point
Row = dict[str, Any]


def images(found: pd.DataFrame) -> list[Row]:
    """One row per number of clean images and method. found: a row per purification that ended."""
    few = found[found["attack"].isin(arena.SOME) & (found["seed"] == 0)]
    few = few[few["purification_seed"] == 0]
    counts = few.groupby("num_clean")["method"].nunique()
    if len(counts) < 2:
        return []
    return _means(few, "num_clean", ("asr", "ca_lost", "seconds"))


def rates(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """One row per poisoning rate and method. rows: of `arena_rates`."""
    ended = [
        {
            **{key: row[key] for key in ("method", "poison_rate", "asr", "asr_reactivated")},
            "ca_lost": row["before"]["ca"] - row["ca"],
            "asr_before": row["before"]["asr"],
        }
        for row in rows
        if "ca" in row
    ]
    if len({row["poison_rate"] for row in ended}) < 2:
        return []
    of = ("asr", "asr_before", "asr_reactivated", "ca_lost")
    return _means(pd.DataFrame(ended), "poison_rate", of)


def taught(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per attack: mean, lowest and highest ASR over benign models. rows: of
    `arena_taught`.
    """
    if not rows:
        return []
    return [
        {
            "attack": str(attack),
            "models": len(own),
            "asr_before": _rounded(own["asr_before"].mean()),
            "asr": _rounded(own["asr"].mean()),
            "asr_low": _rounded(own["asr"].min()),
            "asr_high": _rounded(own["asr"].max()),
        }
        for attack, own in pd.DataFrame(rows).groupby("attack")
    ]


def _means(found: pd.DataFrame, axis: str, of: Sequence[str]) -> list[Row]:
    """By the values of an axis, rising, and the order of methods."""
    place = {name: k for k, name in enumerate(METHODS)}
    found = found[found["method"].isin(METHODS)]
    out = []
    for (value, method), own in found.groupby([axis, "method"]):
        row: Row = {axis: value, "method": method, "models": len(own)}
        out.append(row | {key: _rounded(own[key].mean()) for key in of})
    return sorted(out, key=lambda row: (row[axis], place[row["method"]]))


def strengths(usual: Iterable[Mapping[str, Any]], tried: Iterable[Mapping[str, Any]]) -> list[Row]:
    """One row per method, over the models on which all of it is there.

    usual: rows of `arena`, its defaults. tried: rows of `arena_strength`.

    default, rule, oracle: `_asr` and `_lost` (clean accuracy) of each. The oracle takes of all
    strengths that were tried the one with the least ASR among those within a point of clean
    accuracy, both on the test set; `oracle_models` says for how many models there is one.
    rule_is_default: whether the default applies the rule.
    """
    found = _tried(usual, tried)
    out = []
    for method in arena_strength.methods():
        own = found[found["method"] == method] if len(found) else found
        whole = {("default", None), *((t.how, t.value) for t in _planned(method))}
        models = [
            of
            for _, of in (own.groupby("run") if len(own) else ())
            if whole <= {(how, None if how == "default" else v) for how, v in _keys(of)}
        ]
        if models:
            out.append(_strength(method, models))
    return out


def _keys(of: pd.DataFrame) -> list[tuple[str, float]]:
    return list(zip(of["how"], of["value"], strict=True))


def _planned(method: str) -> list[arena_strength.Trial]:
    return [trial for trial in arena_strength.planned() if trial.method == method]


def _tried(usual: Iterable[Mapping[str, Any]], tried: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per purification, those that diverged without rates."""
    tried = list(tried)
    runs = {row["run"] for row in tried}
    defaults = [
        {**row, "how": "default", "value": None}
        for row in usual
        if row["run"] in runs and (row["seed"], row["num_clean"]) == (0, NUM_CLEAN)
    ]
    return pd.DataFrame(
        [
            {
                **{key: row[key] for key in ("run", "method", "how", "value")},
                "asr": row.get("asr"),
                "ca_lost": row["before"]["ca"] - row["ca"] if "ca" in row else None,
                "chosen": row.get("lr"),
            }
            for row in (*defaults, *tried)
        ]
    )


def _strength(method: str, models: Sequence[pd.DataFrame]) -> Row:
    by_default = not any(trial.how == "rule" for trial in _planned(method))
    row: Row = {"method": method, "models": len(models), "rule_is_default": by_default}
    ends: dict[str, list[dict[Any, Any]]] = {"default": [], "rule": [], "oracle": []}
    for of in models:
        ended = of[of["asr"].notna()].astype({"asr": float, "ca_lost": float})
        for how in ("default", "rule"):
            wanted = "default" if by_default else how
            ends[how] += ended[ended["how"] == wanted].to_dict("records")
        within = ended[ended["ca_lost"] <= TOLERATED_DROP + _ROUNDING]
        ends["oracle"] += within.nsmallest(1, "asr").to_dict("records")
    for how, found in ends.items():
        for key, name in (("asr", "asr"), ("ca_lost", "lost")):
            row[f"{how}_{name}"] = _rounded(_mean([one[key] for one in found]))
    return row | {"oracle_models": len(ends["oracle"])}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), _DIGITS)
