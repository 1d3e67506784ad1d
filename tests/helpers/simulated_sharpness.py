"""Models whose sharpness is known: logs of a measure and of the clean loss, by formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LOG_LOSS = -4.0  # of a benign model at the end of its training


@dataclass(frozen=True, kw_only=True)
class World:
    """effect: log ratio of the measure at the same loss; loss_effect: log ratio of the loss.
    slope: of the log measure on the log loss. between, shared, noise: standard deviations of
    attacks, of what models of one seed share, and of the rest; between_loss, loss_noise: of losses.
    """

    attacks: int = 8
    seeds: int = 4
    benign: int = 12
    effect: float = 0.4
    between: float = 0.2
    shared: float = 0.1
    noise: float = 0.2
    benign_noise: float | None = None
    slope: float = 0.0
    loss_effect: float = 0.0
    between_loss: float = 0.0
    loss_noise: float = 0.3


def models(world: World, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[str, float]]:
    """Columns attack, seed, loss and sharpness; and each attack's own log ratio at equal loss."""
    shared = rng.normal(0, world.shared, max(world.benign, world.seeds))
    own = {f"a{k}": world.effect + rng.normal(0, world.between) for k in range(world.attacks)}
    raised = {name: world.loss_effect + rng.normal(0, world.between_loss) for name in own}
    noise = world.noise if world.benign_noise is None else world.benign_noise
    rows = [("none", seed, 0.0, 0.0, noise) for seed in range(world.benign)]
    rows += [
        (name, seed, effect, raised[name], world.noise)
        for name, effect in own.items()
        for seed in range(world.seeds)
    ]
    out = {"attack": [], "seed": [], "loss": [], "sharpness": []}
    for attack, seed, effect, more, spread in rows:
        loss = more + rng.normal(0, world.loss_noise)
        log = 3 + world.slope * loss + effect + shared[seed] + rng.normal(0, spread)
        out["attack"].append(attack)
        out["seed"].append(seed)
        out["loss"].append(np.exp(LOG_LOSS + loss))
        out["sharpness"].append(np.exp(log))
    return pd.DataFrame(out), own


def curve(log_loss: np.ndarray) -> np.ndarray:
    """Log sharpness of a benign model of this log loss: steep first, flat at the end."""
    x = log_loss - LOG_LOSS
    return 3 + 0.9 * x - 0.08 * x**2


def training(
    rng: np.random.Generator, trainings: int = 12, points: int = 8, noise: float = 0.1
) -> tuple[pd.DataFrame, np.ndarray]:
    """Checkpoints of benign trainings, columns seed, step, loss, sharpness; and what each training
    is off the curve by. Neighboring checkpoints are alike (correlation 0.5).
    """
    own = rng.normal(0, 0.15, trainings)
    rows = []
    for seed in range(trainings):
        end = LOG_LOSS + rng.normal(0, 0.25)
        log_loss = np.linspace(-1.5, end, points) + rng.normal(0, 0.1, points)
        off = 0.0
        for step, at in enumerate(log_loss):
            off = 0.5 * off + rng.normal(0, noise * np.sqrt(0.75))
            rows.append((seed, step, np.exp(at), np.exp(curve(at) + own[seed] + off)))
    return pd.DataFrame(rows, columns=["seed", "step", "loss", "sharpness"]), own


def finished(
    rng: np.random.Generator, effect: float, attacks: int = 8, seeds: int = 4, loss: float = 0.6
) -> pd.DataFrame:
    """Backdoored models on the same curve, times exp(effect), with a log loss higher by `loss`."""
    rows = []
    for k in range(attacks):
        own, more = rng.normal(0, 0.15), rng.normal(loss, 0.15)
        for seed in range(seeds):
            at = LOG_LOSS + more + rng.normal(0, 0.2)
            log = curve(at) + effect + own + rng.normal(0, 0.2)
            rows.append((f"a{k}", seed, np.exp(at), np.exp(log)))
    return pd.DataFrame(rows, columns=["attack", "seed", "loss", "sharpness"])


def coverage(draws: int, covers: Callable[[np.random.Generator], Sequence[bool]]) -> float:
    """Share of intervals that hold the truth, over independent simulations."""
    hits = [hit for k in range(draws) for hit in covers(np.random.default_rng([17, k]))]
    return float(np.mean(hits))
