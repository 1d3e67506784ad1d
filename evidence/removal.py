"""What purification achieves against every attack: the zoo's backdoored models, before and after.

    python -m evidence.removal [--data signs] [--only NAME,NAME] [--threads 1]

Each model is purified by NGF, SGD and Adam with the Lab's defaults (100 steps on 500 clean images,
rates fixed beforehand), as a press on Start in the Lab does; assets/evidence/removal.json holds CA,
ASR and RA on the whole test set. A model that is there already is left alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

import torch

from evidence.geometry import purified
from ngf.environment import environment
from ngf.places import ASSETS
from ngf.runs.files import plain, write_atomic
from ngf.runs.store import Run, Store

OUT = ASSETS / "evidence" / "removal.json"
RATES = ("ca", "asr", "ra", "n_clean", "n_triggered")


def row(origin: Run, purification: Run) -> dict[str, Any]:
    """Rates of one backdoored model and of what each defense made of it."""
    result = purification.result
    return {
        "run": origin.id,
        "data": origin.spec.data,
        "model": origin.spec.model,
        "attack": origin.spec.attack.name,
        "seed": origin.spec.seed,
        "before": {name: result["before"][name] for name in RATES},
        "after": {
            lane: {"layer": found["layer"], **{name: found["after"][name] for name in RATES}}
            for lane, found in result["lanes"].items()
        },
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: an attack a row, mean (lowest-highest) over seeds, in percent."""
    lines = [
        "| attack | seeds | CA before | CA after NGF | ASR before | NGF | SGD | Adam |",
        "|---" * 8 + "|",
    ]

    def cell(values: list[float]) -> str:
        low, mean, high = (
            f"{100 * value:.1f}" for value in (min(values), statistics.fmean(values), max(values))
        )
        return f"{mean} ({low}–{high})"

    for attack in dict.fromkeys(found["attack"] for found in rows):
        mine = [found for found in rows if found["attack"] == attack]
        columns = [
            [found["before"]["ca"] for found in mine],
            [found["after"]["ngf"]["ca"] for found in mine],
            [found["before"]["asr"] for found in mine],
            *([found["after"][lane]["asr"] for found in mine] for lane in ("ngf", "sgd", "adam")),
        ]
        lines.append(f"| {attack} | {len(mine)} | " + " | ".join(map(cell, columns)) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="signs")
    parser.add_argument(
        "--only", default="", help="attacks, separated by commas; the default is all"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    wanted = [name for name in options.only.split(",") if name]
    store = Store()
    rows = json.loads(OUT.read_text(encoding="utf-8"))["rows"] if OUT.exists() else []
    for run in store.runs():
        attack = run.spec.attack.name if run.source == "zoo" else "none"
        if (
            attack == "none"
            or run.spec.data != options.data
            or (wanted and attack not in wanted)
            or any(known["run"] == run.id for known in rows)
        ):
            continue
        found = row(run, purified(store, run.id))
        rows.append(found)
        rows.sort(
            key=lambda known: (
                known["data"] != "signs",
                known["data"],
                known["attack"],
                known["seed"],
            )
        )
        told = {"rows": rows, "steps": 100, "num_clean": 500, "environment": environment()}
        write_atomic(OUT, json.dumps(plain(told), indent=1) + "\n")
        print(
            f"{run.id}: ASR {found['before']['asr']:.3f}, "
            + ", ".join(f"{lane} {rates['asr']:.3f}" for lane, rates in found["after"].items()),
            flush=True,
        )
    print(table([found for found in rows if found["data"] == options.data]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
