"""What was measured beforehand and ships with the project, in `assets/evidence`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dashboard.kit import damage
from ngf import places
from ngf.runs.files import Damaged, read_once

Row = Mapping[str, Any]


def evidence(name: str) -> dict[str, Any] | None:
    """What `assets/evidence/<name>.json` holds; None when the file is missing, or damaged, which is
    noted. Do not change it.
    """
    path = places.ASSETS / "evidence" / f"{name}.json"
    try:
        found = read_once(path)
    except Damaged as exc:
        damage.note(path, str(exc))
        return None
    if found is None or isinstance(found, dict):
        return found
    damage.note(path, f"{path.name} is no object")
    return None


def pairs() -> list[Row]:
    """A backdoored and a benign network with the same clean loss, for each attack: the pair whose
    curvatures differ most first. Empty where the file is missing.
    """
    return list((evidence("pairs") or {}).get("pairs", []))


def of_group(rows: Iterable[Row], data: str, images: str) -> list[Row]:
    """The rows of one data set and one kind of images."""
    return [row for row in rows if (row["data"], row["images"]) == (data, images)]


def answer_effects(effects: Iterable[Row]) -> list[Row]:
    """Those over all attacks that the picture of the answer is drawn of: backdoored against benign
    and after NGF against before.
    """
    return [row for row in effects if row["attack"] == "all" and row.get("method", "ngf") == "ngf"]
