"""Steps of equal length, in the weights and in the predictions, on a real last layer in two of its
directions: assets/evidence/equal_steps.json.

The plane is spanned by two unit eigenvectors of the exact Fisher information of the last layer of
the BadNets model of seed 0, on clean test images: the steepest, and the first one along which
predictions change at most a sixth as fast. A step of equal predictions ends where the mean KL
divergence of the predictions before from those after is `kl`, counted on the layer itself.

    run, n, kl     whose layer, on how many images, the divergence (nats)
    angle          of each step in the plane, in degrees
    length         of the step of equal predictions at that angle
    weights        the length that all steps of equal weights have: the geometric mean of those
    kl_of_weights  KL divergence after a step of that length, by angle
    eigenvalues    of the two directions
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.last_layer import LastLayer
from evidence.computing import Failed, of_zoo
from evidence.minima import NUM_IMAGES, Pictures
from evidence.shipped import EQUAL_STEPS, write
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, TrainSpec
from ngf.defenses.fine_tuning.trust_region import mean_kl
from ngf.optim.natural_gradient import SoftmaxFisher, with_ones
from ngf.runs.store import Store

MODEL = TrainSpec(attack=Choice("badnets"))
KL = 0.05  # nats; enough to be seen, and the ellipse is still nearly one
ANGLES = 72
TIMES = 6.0  # how much slower predictions change along the second direction
_HALVINGS = 60


def missing() -> list[str]:
    return [] if EQUAL_STEPS.exists() else [MODEL.id]


def make(run_id: str) -> None:
    store = Store()
    of_zoo(store, run_id)
    x, _ = Pictures(store, run_id).take("test", NUM_IMAGES)
    layer = LastLayer.of(load_model(store, run_id).model.eval(), x)
    if layer is None:
        raise Failed(f"{run_id} does not end in a linear layer.")
    write(EQUAL_STEPS, {"run": run_id, "n": len(x), **steps(layer)})
    print(f"{run_id}: steps of {KL} nats in two directions of the last layer", flush=True)


def steps(layer: LastLayer) -> dict[str, object]:
    """What the file says of a layer."""
    features = with_ones(layer.features)
    values, vectors = _eigen(SoftmaxFisher(features, layer.probabilities), layer)
    slow = next(k for k in range(1, len(values)) if values[0] >= TIMES**2 * values[k])
    pushes = [features @ vectors[k].T for k in (0, slow)]  # how each direction moves the logits
    angles = np.linspace(0, 360, ANGLES, endpoint=False)
    lengths = [_length(layer, _along(pushes, angle)) for angle in angles]
    same = math.exp(float(np.log(lengths).mean()))
    return {
        "kl": KL,
        "angle": angles.tolist(),
        "length": [float(f"{length:.5g}") for length in lengths],
        "weights": float(f"{same:.5g}"),
        "kl_of_weights": [
            float(f"{kl(layer.probabilities, same * _along(pushes, angle)):.4g}")
            for angle in angles
        ],
        "eigenvalues": [float(f"{values[k]:.5g}") for k in (0, slow)],
    }


def _eigen(fisher: SoftmaxFisher, layer: LastLayer) -> tuple[list[float], list[Tensor]]:
    """Eigenvalues, descending, and unit eigenvectors (C, D + 1) of the whole matrix."""
    classes, inputs = layer.probabilities.shape[1], fisher.features.shape[1]
    units = torch.eye(classes * inputs, dtype=fisher.features.dtype)
    matrix = torch.stack([(fisher @ row.view(classes, inputs)).flatten() for row in units])
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return values.flip(0).tolist(), [v.view(classes, inputs) for v in vectors.flip(1).T]


def _along(pushes: list[Tensor], angle: float) -> Tensor:
    turn = math.radians(angle)
    return math.cos(turn) * pushes[0] + math.sin(turn) * pushes[1]


def kl(before: Tensor, push: Tensor) -> float:
    """Mean KL divergence of probabilities (N, C) from those after their logits moved by `push`."""
    logits = before.clamp_min(torch.finfo(before.dtype).tiny).log()
    return mean_kl(logits, logits + push)


def _length(layer: LastLayer, push: Tensor) -> float:
    """How far to go for a divergence of `KL`, by halving."""
    low, high = 0.0, 1.0
    while kl(layer.probabilities, high * push) < KL:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kl(layer.probabilities, middle * push) < KL else (low, middle)
    return low
