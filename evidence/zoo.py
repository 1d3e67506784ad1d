"""Trains the zoo that ships with the project.

Each model is an ordinary training run, executed in a store of its own, then copied to assets/zoo
without its checkpoint and log. Delete a folder there to train it again. Its card (curvature beside
the rates) is measured by `evidence.cards`.
"""

from __future__ import annotations

import shutil

from evidence.computing import trained
from ngf.catalogue import catalogue
from ngf.config import Choice, Training, TrainSpec
from ngf.places import ZOO, runs_dir
from ngf.runs.folder import EVENTS, PREVIEW, REQUEST, RESULT, SPEC, TRIGGER, WEIGHTS
from ngf.runs.store import Store

# the result last: with it a model counts as there
SHIPPED = (SPEC, REQUEST, EVENTS, WEIGHTS, TRIGGER, PREVIEW, RESULT)
# bytes; CLB's holds training images, which nobody needs to measure its model
LARGEST_TRIGGER = 2**19
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
    result = run.finished()
    print(
        f"{run_id}: CA {result['ca']:.3f} ASR {result['asr']} in {result['seconds']} s", flush=True
    )
