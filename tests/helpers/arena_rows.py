"""Rows as `evidence.arena` writes them, with effects that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    more = {} if benign else {"der": 1 - asr / 2, "asr_reactivated": min(1.0, asr + 0.3)}
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


def write_files(folder: Path) -> None:
    for attack in ATTACKS:
        for seed in range(MODELS):
            found = file(attack, seed)
            write(folder / f"{found['run']}.json", found)
