"""From assets/evidence/geometry: where is backdoored sharper than benign, where is purified
smoother?

Makes assets/evidence/geometry.json: one row per data set, attack, method, kind of images and
measure, with the mean and the values of the seeds, and the verdicts. A verdict holds when every
seed agrees: all backdoored values above all benign ones; all purified values below the value of the
same model before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.measures import MEASURES
from evidence.computing import Failed
from evidence.seeds import all_above, all_fell, interval
from evidence.shipped import GEOMETRY, GEOMETRY_TABLE, as_text, differs, read_all, write

MIN_SEEDS = 3  # what was measured on fewer is left out: one seed agrees with itself
Key = tuple[str, str, str, str, str]  # data set, attack, method, kind of images, measure


def values_of(found: Iterable[Mapping[str, Any]]) -> dict[Key, dict[int, float]]:
    """The value of each measure by seed."""
    out: dict[Key, dict[int, float]] = defaultdict(dict)
    for run in found:
        for method, kinds in run["measured"].items():
            for kind, done in kinds.items():
                for measure in MEASURES.values():
                    value = done.get(measure.found_by, {}).get(measure.name)
                    if value is not None:
                        key = (run["data"], run["attack"], method, kind, measure.name)
                        out[key][run["seed"]] = value
    return out


def rows_of(values: Mapping[Key, Mapping[int, float]]) -> list[dict[str, Any]]:
    rows = []
    for (data, attack, method, kind, measure), by_seed in sorted(values.items()):
        row = {
            "data": data,
            "attack": attack,
            "method": method,
            "images": kind,
            "measure": measure,
            **interval([by_seed[seed] for seed in sorted(by_seed)]),
        }
        if method == "before" and attack != "none" and kind == "clean":
            if benign := values.get((data, "none", "before", "clean", measure)):
                row["sharper_than_benign"] = all_above([*by_seed.values()], [*benign.values()])
        elif method != "before":
            before = values[data, attack, "before", kind, measure]
            row["smoother_than_before"] = all_fell(by_seed, before)
        rows.append(row)
    return rows


def table() -> dict[str, Any]:
    """What geometry.json holds. Raises `Failed` when nothing was measured."""
    found = read_all(GEOMETRY)
    if not found:
        raise Failed(f"There is nothing in {GEOMETRY} yet: python -m evidence geometry")
    enough = {key: of for key, of in values_of(found).items() if len(of) >= MIN_SEEDS}
    return {
        "rows": rows_of(enough),
        "num_images": found[0]["num_images"],
        "hardware": found[0]["environment"],
        "num_models": len(found),
    }


def missing() -> list[str]:
    """The table, when it is not what its files say."""
    return [GEOMETRY_TABLE.name] if differs(GEOMETRY_TABLE, as_text(table())) else []


def make(name: str) -> None:
    made = table()
    write(GEOMETRY_TABLE, made)
    print(f"{name}: {len(made['rows']):,} rows, {made['num_models']} models", flush=True)
