"""Rows as `evidence.arena` writes them, with effects that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evidence import arena, arena_rates, arena_strength, arena_taught
from evidence.arena import NUM_CLEAN, SOME
from evidence.shipped import write

ATTACKS = (*SOME, "none")
BEFORE = {"ca": 0.99, "asr": 0.95, "ra": 0.05, "lambda_max": 10.0}
# method -> ASR left, clean accuracy lost, seconds
LEFT = {
    "ft": (0.2, 0.01, 5.0),
    "ft_last": (0.9, 0.0, 2.0),
    "fst": (0.05, 0.02, 6.0),
    "ngf_all": (0.04, 0.005, 14.0),
}
ABLATED = {"ngf_weak": (0.3, 0.001, 14.0)}
MODELS = 3


def row(method: str, attack: str, seed: int, num_clean: int = NUM_CLEAN) -> dict[str, Any]:
    """Later models keep more: by a hundredth each, after `ft` and without a part of NGF by two.
    With fewer clean images it is a tenth more.
    """
    asr, lost, seconds = (LEFT | ABLATED)[method]
    asr = min(
        1.0,
        asr + (0.02 if method in ("ft", *ABLATED) else 0.01) * seed + 0.1 * (num_clean < NUM_CLEAN),
    )
    benign = attack == "none"
    rates = {"asr": None, "ra": None} if benign else {"asr": asr, "ra": 0.9 - asr / 2}
    more: dict[str, Any] = (
        {} if benign else {"der": 1 - asr / 2, "asr_reactivated": min(1.0, asr + 0.3)}
    )
    if seed == arena.CURVES_OF and num_clean == NUM_CLEAN:
        more["curve"] = {
            "step": [0, 100],
            "seconds": [0.1, seconds],
            "ca": [0.99, 0.99 - lost],
            "asr": [None, None] if benign else [0.95, asr],
        }
    return {
        "method": method,
        "seed": 0,
        "num_clean": num_clean,
        "seconds": seconds,
        "steps": 100,
        "ca": 0.99 - lost,
        "lambda_max": 5.0,
        "changed": 100,
        **rates,
        **more,
    }


def file(attack: str, seed: int) -> dict[str, Any]:
    """What one file holds."""
    counts = (NUM_CLEAN, 100) if attack in SOME and seed == 0 else (NUM_CLEAN,)
    rates = {"asr": None, "ra": None} if attack == "none" else {}
    return {
        "run": f"signs-{attack}-s{seed}-0000000000",
        "attack": attack,
        "model_seed": seed,
        "poisoned": 5,
        "before": BEFORE | rates,
        "environment": {"cores": 2, "hardware": "Abacus", "torch": "9.9"},
        "rows": [
            *(row(method, attack, seed, count) for method in LEFT for count in counts),
            *(row(method, attack, seed) for method in ABLATED),
        ],
    }


def strength_file(attack: str) -> dict[str, Any]:
    """Of one method: by rule it leaves half as much as by default, at half a point; ten times the
    default leaves nothing and costs nine points; a third diverges; three times leaves a quarter,
    at one point sharp.
    """
    usual = row("ft", attack, 0)
    ends = {("rule", 0.0): (0.5, 0.005)}
    for trial in arena_strength.planned():
        if trial.method == "ft" and trial.how == "sweep":
            ends["sweep", trial.value] = (0.0, 0.09)
    values = [value for how, value in ends if how == "sweep"]
    ends["sweep", values[1]] = (0.25, 0.01)
    rows = [
        {
            "method": "ft",
            "how": how,
            "value": value,
            "asr": usual["asr"] * share,
            "ca": 0.99 - lost,
            "seconds": 5.0,
        }
        for (how, value), (share, lost) in ends.items()
        if value != values[0]
    ]
    rows.append({"method": "ft", "how": "sweep", "value": values[0], "diverged": 3})
    return file(attack, 0) | {"rows": rows}


def rate_file(poison_rate: float) -> dict[str, Any]:
    """The lower the rate, the more is left: a tenth more at 1 % than at 5 %."""
    rows = [row(method, arena_rates.ATTACK, 0) for method in LEFT]
    more = 0.1 if poison_rate < 0.05 else 0.0
    return file(arena_rates.ATTACK, 0) | {
        "run": f"signs-badnets-s0-{poison_rate}",
        "poison_rate": poison_rate,
        "rows": [{**one, "asr": min(1.0, one["asr"] + more)} for one in rows],
    }


def put_files(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """All rows that the tables read, and nothing else."""
    for module in (arena, arena_strength, arena_rates):
        monkeypatch.setattr(module, "FOLDER", root / module.__name__)
    for attack in ATTACKS:
        for seed in range(MODELS):
            found = file(attack, seed)
            write(arena.FOLDER / f"{found['run']}.json", found)
    for attack in SOME:
        write(arena_strength.FOLDER / f"{attack}.json", strength_file(attack))
    monkeypatch.setattr(arena_taught, "PATH", root / "taught.json")
    rows = [
        {"attack": attack, "seed": seed, "asr_before": 0.01, "asr": 0.1 * seed, "ca": 0.98}
        for attack in SOME
        for seed in range(MODELS)
    ]
    write(arena_taught.PATH, {"rows": rows})
    for rate in (0.01, 0.05):
        write(arena_rates.FOLDER / f"{rate}.json", rate_file(rate))
