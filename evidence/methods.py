"""What the methods leave, in tables: assets/evidence/methods.json, from the rows of `purification`.

Flat rows, so that who shows them needs no statistics. Every purification that was measured is in:
rates are means over models of each one's mean over purification seeds, with both spreads; those
that diverged have no rates and are counted beside them. The tables:

    methods         by attack, method and how its strength came about (`before`: nothing was done)
    models          the same for each model, with the lowest and highest of its purification seeds
    equal_accuracy  ASR at the same drop of clean accuracy, read from the sweeps
    augmentation    weak against strong augmentation of the clean images, everything else equal
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from evidence import purification
from evidence.purification import METHODS
from evidence.shipped import METHODS as PATH
from evidence.shipped import as_text, differs, read_all, write
from evidence.statistics import over_attacks
from evidence.statistics.equal_accuracy import at_equal_accuracy, summary
from evidence.statistics.spreads import spreads
from ngf.catalogue import catalogue, options_of

BEFORE = "before"  # the method, and the way to its strength, of a model that was not purified
ALL = "all"  # attacks, in a row over several
RATES = ("ca", "asr", "ra")
DIGITS = 5  # rates are counts of some thousand images
Row = dict[str, Any]


# ---- the rows as frames


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A row per purification; `seed` is the model's. Rates are missing where it diverged."""
    return pd.DataFrame(
        [
            {
                **{key: row[key] for key in ("run", "attack", "method", "how", "times")},
                "seed": row["model_seed"],
                "purification_seed": row["seed"],
                "strength": row["strength"],
                "layer": row.get("layer", ""),
                "diverged": "diverged" in row,
                **{rate: row.get(rate) for rate in RATES},
                **{f"{rate}_before": row["before"][rate] for rate in RATES},
            }
            for row in rows
        ]
    )


def ended(found: pd.DataFrame, *, how: str = "", method: str = "") -> pd.DataFrame:
    """The purifications that did not diverge, those of `how` and `method` where they are named."""
    if found.empty:
        return found
    kept = found[~found["diverged"]]
    kept = kept[kept["how"] == how] if how else kept
    return (kept[kept["method"] == method] if method else kept).astype(dict.fromkeys(RATES, float))


def points(found: pd.DataFrame) -> pd.DataFrame:
    """The sweeps as `at_equal_accuracy` takes them: the strength in units of the default."""
    swept = ended(found, how="sweep")
    return swept if swept.empty else swept.assign(strength=swept["times"])


def short(kind: str, name: str) -> str:
    """What people call a plug-in."""
    return str(catalogue()[kind][name]["short"])


def methods_in(found: pd.DataFrame) -> list[str]:
    """In the order of `METHODS`; those that are no longer among them last."""
    names = [] if found.empty else sorted(set(found["method"]))
    known = list(METHODS)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


# ---- the tables


def by_method(found: pd.DataFrame) -> list[Row]:
    """One row per way to a strength, attack and method; models as they came first."""
    out = []
    for attack, of in _before(found).groupby("attack") if len(found) else ():
        out.append(_row(BEFORE, str(attack), BEFORE, of))
    for how in ("default", "rule"):
        for attack, method, of in _groups(found, how):
            out.append(_row(how, attack, method, of))
    return out


def _before(found: pd.DataFrame) -> pd.DataFrame:
    """One row per model, with its rates before."""
    once = found.drop_duplicates("run").copy()
    for rate in RATES:
        once[rate] = once[f"{rate}_before"]
    return once.assign(purification_seed=0, diverged=False, strength=0.0, layer="")


def _groups(found: pd.DataFrame, how: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    if found.empty:
        return
    here = found[found["how"] == how]
    for attack in sorted(set(here["attack"])):
        for method in methods_in(here):
            of = here[(here["attack"] == attack) & (here["method"] == method)]
            if len(of):
                yield attack, method, of


def _row(how: str, attack: str, method: str, of: pd.DataFrame) -> Row:
    kept = ended(of)
    out: Row = {
        "how": how,
        "attack": attack,
        "method": method,
        "models": of["run"].nunique(),
        "purification_seeds": 0 if how == BEFORE else _seeds(of),
        "purifications": 0 if how == BEFORE else len(of),
        "diverged": int(of["diverged"].sum()),
    }
    for rate in RATES:
        spread = spreads(kept, rate) if len(kept) else None
        out[rate] = spread and _rounded(spread.value)
        out[f"{rate}_between_models"] = spread and _rounded(spread.between_models)
        out[f"{rate}_between_seeds"] = spread and _rounded(spread.between_seeds)
        out[f"{rate}_range_of_seeds"] = spread and _rounded(spread.range_of_seeds)
    strengths = of["strength"].astype(float)
    for name, value in (
        ("median", strengths.median()),
        ("low", strengths.min()),
        ("high", strengths.max()),
    ):
        out[f"strength_{name}"] = None if how == BEFORE else float(value)
    return out


def _seeds(of: pd.DataFrame) -> int:
    """The fewest purification seeds of a model."""
    return int(of.groupby("run")["purification_seed"].nunique().min())


def by_model(found: pd.DataFrame) -> list[Row]:
    """One row per way to a strength, attack, method and model, for pictures."""
    parts = [(BEFORE, str(attack), BEFORE, of) for attack, of in _per_attack(found)]
    for how in ("default", "rule"):
        parts += [(how, *group) for group in _groups(found, how)]
    return [
        _model_row(how, attack, method, of)
        for how, attack, method, every in parts
        for _, of in every.groupby(["seed", "run"])
    ]


def _per_attack(found: pd.DataFrame) -> Iterable[tuple[Any, pd.DataFrame]]:
    return _before(found).groupby("attack") if len(found) else ()


def _model_row(how: str, attack: str, method: str, of: pd.DataFrame) -> Row:
    kept = ended(of)
    first = of.iloc[0]
    out: Row = {
        "how": how,
        "attack": attack,
        "method": method,
        "run": str(first["run"]),
        "model_seed": int(first["seed"]),
        "purification_seeds": 0 if how == BEFORE else len(of),
        "diverged": int(of["diverged"].sum()),
        "strength": None if how == BEFORE else float(of["strength"].astype(float).median()),
        "layer": ", ".join(sorted(set(kept["layer"]) - {""})),
    }
    for rate in RATES:
        values = kept[rate]
        out[rate] = _rounded(values.mean()) if len(values) else None
        out[f"{rate}_low"] = _rounded(values.min()) if len(values) else None
        out[f"{rate}_high"] = _rounded(values.max()) if len(values) else None
    return out


def equal_accuracy(found: pd.DataFrame) -> list[Row]:
    """One row per attack (then over all of them), method and drop."""
    every = points(found)
    if every.empty:
        return []
    out = []
    for attack in [*sorted(set(every["attack"])), ALL]:
        of = every if attack == ALL else every[every["attack"] == attack]
        least = at_equal_accuracy(of)
        order = methods_in(of)
        for one in sorted(summary(of), key=lambda one: (order.index(one.method), one.drop)):
            within = least[(least["method"] == one.method) & (least["drop"] == one.drop)]
            within = within[within["least_within"].notna()].astype({"least_within": float})
            left = one.left
            out.append(
                {
                    "attack": attack,
                    "method": one.method,
                    "drop": one.drop,
                    "asr": left and _rounded(left.value),
                    "asr_between_models": left and _rounded(left.between_models),
                    "asr_between_seeds": left and _rounded(left.between_seeds),
                    "models": left.count.models if left else 0,
                    "purification_seeds": left.count.purification_seeds if left else 0,
                    "reached": one.reached,
                    "of": one.of,
                    "never_lose_so_much": one.never,
                    "always_lose_more": one.always,
                    "least_within": _rounded(spreads(within, "least_within").value)
                    if len(within)
                    else None,
                }
            )
    return out


def augmentation(found: pd.DataFrame) -> list[Row]:
    """One row per attack (then over all of them) and method: what strong leaves less than weak."""
    weak, strong = (ended(found, how=how) for how in ("weak", "strong"))
    if weak.empty or strong.empty:
        return []
    out = []
    for attack in [*sorted(set(weak["attack"]) & set(strong["attack"])), ALL]:
        for method in methods_in(weak):
            one, other = (
                of[(of["method"] == method) & ((of["attack"] == attack) | (attack == ALL))]
                for of in (strong, weak)
            )
            both = over_attacks.paired(one, other, RATES)
            if both.empty:
                continue
            row: Row = {
                "attack": attack,
                "method": method,
                "models": len(both.drop_duplicates(["attack", "seed"])),
                "purification_seeds": int(both.groupby(["attack", "seed"]).size().min()),
            }
            for name, of in (("weak", other), ("strong", one)):
                for rate in ("ca", "asr"):
                    row[f"{rate}_{name}"] = _rounded(spreads(of, rate).value)
            effect = over_attacks.mean(both, "asr")
            row["asr_difference"] = _rounded(effect.value if effect else both["asr"].mean())
            row["low"] = effect and _rounded(effect.low)
            row["high"] = effect and _rounded(effect.high)
            out.append(row)
    return out


def _rounded(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), DIGITS)


# ---- what it rests on


def about(files: Sequence[Row], found: pd.DataFrame) -> Row:
    """How much of what is planned is there, and what every number is of."""
    plan = purification.specs()
    environments = {tuple(sorted(file["environment"].items())): None for file in files}
    names = methods_in(found)
    steps = {
        name: options_of("defenses", METHODS[name]).get("steps")
        for name in names
        if name in METHODS
    }
    return {
        "models": len(files),
        "models_planned": len(plan),
        "rows": len(found),
        "rows_planned": sum(len(list(purification.planned(spec))) for spec in plan),
        "num_clean": sorted({file["num_clean"] for file in files}),
        "n_clean": sorted({file["before"]["n_clean"] for file in files}),
        "n_triggered": {
            attack: sorted({of["before"]["n_triggered"] for of in files if of["attack"] == attack})
            for attack in sorted({file["attack"] for file in files})
        },
        "steps": {name: of for name, of in steps.items() if of is not None},
        "methods": names,
        "environments": [dict(one) for one in environments],
    }


# ---- the step


def tables() -> Row:
    """What methods.json holds; empty tables where nothing was measured yet."""
    files, found = read_all(purification.FOLDER), frame(purification.rows())
    return {
        "about": about(files, found),
        "methods": by_method(found),
        "models": by_model(found),
        "equal_accuracy": equal_accuracy(found),
        "augmentation": augmentation(found),
    }


def missing() -> list[str]:
    """The tables, when they are not what the measured files say."""
    return [PATH.name] if differs(PATH, as_text(tables())) else []


def make(name: str) -> None:
    made = tables()
    write(PATH, made)
    of = made["about"]
    print(
        f"{name}: {of['rows']} of {of['rows_planned']} purifications of {of['models']} models",
        flush=True,
    )
