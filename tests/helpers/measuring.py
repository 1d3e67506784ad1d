"""Measurements for tests: short ones, and called as the executor calls them."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from analysis.measurements.base import Measurement
from analysis.reactivation import Material
from analysis.result import Partial
from ngf.data import Images, to_bytes

# Options that keep the contract test short; a measurement not named here runs with its defaults.
SHORT = {
    "hessian_spectrum": {"steps": 6, "probes": 4, "vectors": 2},
    "fisher_trace": {"draws": 4},
    "loss_slice": {"points": 7},
    "loss_line": {"points": 7},
    "loss_plane": {"points": 5},
    "loss_bend": {"points": 5, "steps": 4},
    "fisher_spectrum": {"steps": 6, "probes": 4},
    "sharpness": {"steps": 6, "probes": 4, "draws": 3},
    "rescaling": {"points": 3, "steps": 5, "probes": 2},
    "batch_eigenvalue": {"batch": 3},
    "checkup": {"trigger_steps": 10, "universal_steps": 4},
    "reactivation": {"epochs": 2},
    "yardstick": {"trigger_steps": 10, "universal_steps": 4},
}


def run(
    measurement: Measurement,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    seed: int,
    reference: nn.Module,
) -> Iterator[Partial]:
    """`measure` with what the measurement says that it needs."""
    given: dict[str, Any] = {"reference": reference} if measurement.needs().reference else {}
    if measurement.needs().poisoned:
        seen = Images(to_bytes(images), labels)
        given["material"] = Material(seen, seen, seen)
    return measurement.measure(model, images, labels, seed=seed, **given)
