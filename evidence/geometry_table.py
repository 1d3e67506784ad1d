"""From assets/evidence/geometry/*.json: where is backdoored sharper than benign, where is purified
smoother?

    python -m evidence.geometry_table

Writes assets/evidence/geometry.json: one row a data set, attack, method, data kind and measure,
with the mean and the range over seeds, and the verdicts. A verdict holds when every seed agrees:
all backdoored values above all benign ones; all purified values below the value of the same model
before.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict

from evidence.claims import ASSETS, interval, load

FOLDER = ASSETS / "evidence" / "geometry"
# measure -> in which measurement's values it is
SHARPNESS = {
    "lambda_max": "hessian_spectrum",
    "trace": "hessian_spectrum",
    "fisher_trace": "fisher_trace",
    **dict.fromkeys(
        (
            "filter_lambda_max",
            "filter_trace",
            "adaptive_lambda_max",
            "adaptive_trace",
            "asam_sharpness",
            "layer_normalized_trace",
            "fisher_rao_norm",
            "relative_flatness",
            "function_sharpness",
            "weight_norm",
            "loss",
        ),
        "sharpness",
    ),
}
YES, NO, MIXED = "yes", "no", "mixed"
MIN_SEEDS = 3  # what was measured on fewer is left out: one seed agrees with itself


def values_of(found: list[dict]) -> dict[tuple, dict[int, float]]:
    """(data set, attack, method, data kind, measure) -> value by seed."""
    out: dict[tuple, dict[int, float]] = defaultdict(dict)
    for run in found:
        for method, kinds in run["measured"].items():
            for kind, done in kinds.items():
                for measure, source in SHARPNESS.items():
                    value = done.get(source, {}).get(measure)
                    if value is not None:
                        out[run["data"], run["attack"], method, kind, measure][run["seed"]] = value
    return out


def sharper(values: dict[int, float], benign: dict[int, float]) -> str:
    """Whether all of `values` lie above all of `benign` (yes), below (no), or neither (mixed)."""
    if min(values.values()) > max(benign.values()):
        return YES
    return NO if max(values.values()) < min(benign.values()) else MIXED


def smoother(after: dict[int, float], before: dict[int, float]) -> str:
    """Whether each model's value fell (yes), rose (no), or it depends on the seed (mixed)."""
    fell = {after[seed] < before[seed] for seed in after.keys() & before.keys()}
    return {frozenset({True}): YES, frozenset({False}): NO}.get(frozenset(fell), MIXED)


def rows_of(values: dict[tuple, dict[int, float]]) -> list[dict]:
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
                row["sharper_than_benign"] = sharper(by_seed, benign)
        elif method != "before":
            row["smoother_than_before"] = smoother(
                by_seed, values[data, attack, "before", kind, measure]
            )
        rows.append(row)
    return rows


def main() -> int:
    found = load(FOLDER)
    rows = rows_of(
        {key: by_seed for key, by_seed in values_of(found).items() if len(by_seed) >= MIN_SEEDS}
    )
    summary = {
        "rows": rows,
        "num_images": found[0]["num_images"],
        "hardware": found[0]["environment"],
        "num_models": len(found),
    }
    target = ASSETS / "evidence" / "geometry.json"
    target.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for question in ("sharper_than_benign", "smoother_than_before"):
        count: dict[tuple, dict[str, int]] = defaultdict(lambda: dict.fromkeys((YES, MIXED, NO), 0))
        for row in rows:
            if question in row:
                count[row["measure"], row["method"]][row[question]] += 1
        print(question)
        for (measure, method), verdicts in sorted(count.items()):
            print(f"  {measure:24s} {method:7s} {verdicts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
