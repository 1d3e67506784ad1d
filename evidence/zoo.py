"""Trains the zoo that ships with the project.

Each model is an ordinary training run, executed in a store of its own, then copied to assets/zoo
without its checkpoint and log, and with its weights in half precision. Delete a folder there to
train it again. Its card (rates and curvature of the weights that ship) is measured by
`evidence.cards`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from evidence.computing import Failed, trained
from ngf.catalogue import catalogue
from ngf.checkpoints.weights import read_tensors, save_tensors
from ngf.config import Choice, Training, TrainSpec
from ngf.finite import broken
from ngf.places import ZOO, runs_dir
from ngf.runs.folder import EVENTS, PREVIEW, REQUEST, RESULT, SPEC, TRIGGER, WEIGHTS
from ngf.runs.store import Store

# the result last: with it a model counts as there
SHIPPED = (SPEC, REQUEST, EVENTS, WEIGHTS, TRIGGER, PREVIEW, RESULT)
# bytes; CLB's holds training images, which nobody needs to measure its model
LARGEST_TRIGGER = 2**19
SEEDS = (0, 1, 2)
MORE_SEEDS = (3, 4)  # for what is compared most
BENIGN_SEEDS = tuple(range(17))  # a population that backdoored models are compared with


def attacks() -> list[str]:
    """All, benign first."""
    return ["none", *sorted(set(catalogue()["attacks"]) - {"none"})]


def specs() -> list[TrainSpec]:
    """The whole zoo: signs under every attack, three seeds and five for some, and seventeen benign
    ones; Fashion-MNIST under two, three seeds.
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
            TrainSpec(attack=Choice("none"), seed=seed)
            for seed in BENIGN_SEEDS
            if seed not in (*SEEDS, *MORE_SEEDS)
        ]
        + [
            TrainSpec(data="fashion_mnist", attack=Choice(attack), training=fashion, seed=seed)
            for seed in SEEDS
            for attack in ("none", "badnets", "blend")
        ]
    )


def halve(path: Path) -> None:
    """Store the weights of a file in half precision, which takes half the space. Raises `Failed`
    for one that it cannot hold.
    """
    found = {
        name: value.half() if value.dtype == torch.float32 else value
        for name, value in read_tensors(path).items()
    }
    if names := broken(found):
        raise Failed(f"{path}: half precision cannot hold {', '.join(names)}.")
    save_tensors(found, path)


def missing() -> list[str]:
    return [spec.id for spec in specs() if not (ZOO / spec.id / RESULT).exists()]


def make(run_id: str) -> None:
    """Train one model and copy what ships of it."""
    spec = next(spec for spec in specs() if spec.id == run_id)
    work = runs_dir() / "zoo-build"
    run = trained(Store(work, zoo=work / "no-zoo"), spec)
    target = ZOO / run_id
    target.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        made = run.path / name
        # only learned triggers are files
        if made.exists() and (name != TRIGGER or made.stat().st_size <= LARGEST_TRIGGER):
            shutil.copy2(made, target / name)
    halve(target / WEIGHTS)
    result = run.finished()
    print(
        f"{run_id}: CA {result['ca']:.3f} ASR {result['asr']} in {result['seconds']} s", flush=True
    )
