"""The paper's claims, each with a verdict; assets/evidence/summary.json holds them.

Nothing is written here that is not computed from the files of the other steps: claims about
sharpness in `sharpness_claims`, about removal in `removal_claims`. A claim that nothing was
measured of is not there yet.
"""

from __future__ import annotations

from typing import Any

from evidence import removal_claims
from evidence.sharpness_claims import sharper, smoother
from evidence.shipped import SHARPNESS, SUMMARY, as_text, differs, read, write


def summary() -> dict[str, Any]:
    """What summary.json holds, in the order of the paper."""
    found = read(SHARPNESS) if SHARPNESS.exists() else None
    before, after = ([], []) if found is None else (sharper(found), smoother(found))
    return {"claims": [*before, *removal_claims.claims(), *after]}


def missing() -> list[str]:
    """The summary, when it is not what the measured files say."""
    return [SUMMARY.name] if differs(SUMMARY, as_text(summary())) else []


def make(name: str) -> None:
    made = summary()
    write(SUMMARY, made)
    for item in made["claims"]:
        print(f"{name}: {item['claim']} {item['verdict']}.", flush=True)
