"""Trains the zoo that ships with the project: `make zoo`.

Each model is an ordinary training run, executed in a store of its own, then copied to assets/zoo
without its checkpoint and log. Runs that are in the zoo already are left alone; delete a folder
there to train it again. Cards (curvature beside the rates) are measured by
`evidence/cards.py`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch

from ngf.catalogue import catalogue
from ngf.config import Choice, Training, TrainSpec
from ngf.places import ZOO
from ngf.runs.child import execute
from ngf.runs.folder import RESULT
from ngf.runs.store import Store

SHIPPED = (
    "spec.json",
    "request.json",
    "events.jsonl",
    "model.safetensors",
    "trigger.safetensors",
    "preview.npz",
    "result.json",
)
LARGEST_TRIGGER = (
    2**19
)  # bytes; CLB's holds training images, which nobody needs to measure its model
SEEDS = (0, 1, 2)
MORE_SEEDS = (3, 4)  # for what is compared most


def attacks() -> list[str]:
    """All, benign first."""
    return ["none", *sorted(set(catalogue()["attacks"]) - {"none"})]


def specs() -> list[TrainSpec]:
    """The whole zoo: signs under every attack, three seeds and five for some; Fashion-MNIST
    under two, three seeds.
    """
    fashion = Training(epochs=15)
    return (
        [TrainSpec(attack=Choice(attack), seed=seed) for seed in SEEDS for attack in attacks()]
        + [
            TrainSpec(attack=Choice(attack), seed=seed)
            for seed in MORE_SEEDS
            for attack in ("none", "badnets", "blend", "wanet")
        ]
        + [
            TrainSpec(data="fashion_mnist", attack=Choice(attack), training=fashion, seed=seed)
            for seed in SEEDS
            for attack in ("none", "badnets", "blend")
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", default="", help="train ids that contain one of these, separated by commas"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, default=Path("runs/zoo-build"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    store = Store(options.work, zoo=options.work / "no-zoo")
    failed = 0
    for spec in specs():
        wanted = not options.only or any(part in spec.id for part in options.only.split(","))
        if not wanted or (ZOO / spec.id / RESULT).exists():
            continue
        run = store.submit(spec)
        status = execute(run)
        if status != "done":
            failed += 1
            print(f"{spec.id}: {status} {run.error}", flush=True)
            continue
        target = ZOO / spec.id
        target.mkdir(parents=True, exist_ok=True)
        for name in SHIPPED:
            made = run.path / name  # only learned triggers are files
            if made.exists() and (
                name != "trigger.safetensors" or made.stat().st_size <= LARGEST_TRIGGER
            ):
                shutil.copy2(made, target / name)
        result = run.result
        print(
            f"{spec.id}: CA {result['ca']:.3f} ASR {result['asr']} in {result['seconds']} s",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
