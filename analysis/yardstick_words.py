"""What a yardstick says of a purified model, in words, and how far that can be trusted.

No torch here: pages import it. `assets/evidence/surrogate.json` holds how well the yardstick ranked
purified models of the zoo by their true attack success (see `evidence.surrogate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngf import places
from ngf.runs.files import read_once

CANNOT = "It cannot show that an unknown trigger of another kind is gone."


def shipped_surrogate() -> Mapping[str, Any]:
    """What ships; empty where there is no file."""
    path = places.ASSETS / "evidence" / "surrogate.json"
    return read_once(path) if path.exists() else {}


def sentence(values: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    """What the values of `analysis.measurements.yardstick` say, partial ones too.

    evidence: see `shipped_surrogate`.
    """
    said = [_left(values), _moved(values), trust(evidence), CANNOT]
    return " ".join(filter(None, said))


def _left(values: Mapping[str, Any]) -> str:
    if values.get("left") is not None:
        low, high = (_percent(values[f"left_{end}"]) for end in ("low", "high"))
        return (
            f"Of what opened the model before, {_percent(values['left'])} % still does "
            f"({low} to {high} %)."
        )
    if values.get("opened") == 0:
        return "Nothing that was found opened the model before, so there is nothing to compare."
    return "What opens the model before purification is still searched for."


def _moved(values: Mapping[str, Any]) -> str:
    if values.get("moved") is None:
        return ""
    low, high = (_percent(values[f"moved_{end}"]) for end in ("low", "high"))
    return (
        f"Predictions moved on {_percent(values['moved'])} % of {values['n']} clean images "
        f"({low} to {high} %)."
    )


def trust(evidence: Mapping[str, Any]) -> str:
    """How the number ranked purified models whose trigger is known; empty without evidence."""
    rank = evidence.get("overall", {}).get("left", {})
    if rank.get("value") is None:
        return ""
    said = (
        f"Over {evidence['lanes']} purifications of {evidence['models']} models of the zoo this "
        f"ranked as the true attack success did, with Spearman's ρ = {_rho(rank)}"
    )
    inside = evidence["within"]["left"]
    if inside["value"] is not None:
        said += f"; among the purifications of one model, ρ = {_rho(inside)} on average"
        if inside["models"] < evidence["models"]:
            said += f" over {inside['models']} of them"
    return f"{said}."


def _rho(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if 0 < share < 0.1 else f"{100 * share:.0f}"
