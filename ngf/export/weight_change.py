"""How far each layer of a model was moved by a purification, from the weights alone. No torch.

Parameters only: running averages of BatchNorm and bounds (see `ngf.models.bounds`) are no weights
that were tuned. A layer is a module with parameters of its own; its weight and bias count as one.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ngf.catalogue import catalogue
from ngf.export.torch_file import Stored, read_safetensors
from ngf.export.weights import lanes_with_weights, weights_of
from ngf.options import SpecError
from ngf.runs.files import read_json
from ngf.runs.folder import FORM
from ngf.runs.store import PurifyRun

INSIDE = "network."  # as `ngf.models.of_others.normalized` calls it, which imports torch
_NO_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked", "bound")
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


@dataclass(frozen=True)
class LayerChange:
    """One layer before and after.

    count: parameters. changed: how many of them are other numbers. moved: ||w - w0||. length:
    ||w0||, both Euclidean.
    """

    layer: str
    count: int
    changed: int
    moved: float
    length: float

    @property
    def relative(self) -> float | None:
        """||w - w0|| / ||w0||; None where the layer was zero."""
        return self.moved / self.length if self.length else None


def changes(run: PurifyRun) -> dict[str, list[LayerChange]]:
    """The layers of each lane that has left weights, in the order of the network, against the model
    before purification. Raises SpecError where that is gone, or weights are damaged.
    """
    lanes = lanes_with_weights(run)
    if not lanes:
        return {}
    parent = run.store.find(run.spec.parent)
    if parent is None:
        raise SpecError(f"{run.spec.parent}, the model before purification, was deleted.")
    before = _tensors(weights_of(parent).read_bytes())
    order = _order(run)
    found = {}
    for lane in lanes:
        layers = compared(before, _tensors(weights_of(run, lane).read_bytes()))
        found[lane] = sorted(layers, key=lambda one: order.get(one.layer, len(order)))
    return found


def _order(run: PurifyRun) -> dict[str, int]:
    """The places of the layers in the network; a file of weights has them by the alphabet."""
    training = run.training()
    if training is None:
        return {}
    form = read_json(training.path / FORM) or {}
    layers = catalogue()["models"].get(training.spec.model, {}).get("modules")
    layers = layers or [name.rpartition(".")[0] for name in form.get("names", ())]
    return {layer: place for place, layer in enumerate(dict.fromkeys(layers))}


def compared(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> list[LayerChange]:
    """Layer by layer, float64. before, after: parameters by name, of one network. Raises SpecError
    for others.
    """
    if {name: value.shape for name, value in before.items()} != {
        name: value.shape for name, value in after.items()
    }:
        raise SpecError("The weights before and after are of two networks.")
    layers: dict[str, list[str]] = {}
    for name in before:
        layer = name.removeprefix(INSIDE).rpartition(".")[0] or "model"
        layers.setdefault(layer, []).append(name)
    return [
        LayerChange(
            layer,
            sum(before[name].size for name in names),
            sum(int((after[name] != before[name]).sum()) for name in names),
            _length([after[name] - before[name] for name in names]),
            _length([before[name] for name in names]),
        )
        for layer, names in layers.items()
    ]


def whole(layers: Sequence[LayerChange]) -> LayerChange:
    """All layers as one."""
    return LayerChange(
        "all",
        sum(one.count for one in layers),
        sum(one.changed for one in layers),
        math.hypot(*(one.moved for one in layers)),
        math.hypot(*(one.length for one in layers)),
    )


def as_csv(found: Mapping[str, Sequence[LayerChange]]) -> str:
    """A row for each lane and layer, and one for all layers of the lane."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["lane", "layer", "parameters", "changed", "relative_change"])
    for lane, layers in found.items():
        for one in (*layers, whole(layers)):
            relative = "" if one.relative is None else repr(one.relative)
            writer.writerow([lane, one.layer, one.count, one.changed, relative])
    return out.getvalue()


def _length(parts: Sequence[np.ndarray]) -> float:
    return math.sqrt(sum(float(np.square(part).sum()) for part in parts))


def _tensors(raw: bytes) -> dict[str, np.ndarray]:
    """The parameters of a safetensors file, as float64."""
    return {
        name: _numbers(name, stored)
        for name, stored in read_safetensors(raw).items()
        if not name.endswith(_NO_PARAMETERS)
    }


def _numbers(name: str, stored: Stored) -> np.ndarray:
    if stored.dtype == "BF16":  # the upper half of a float32
        wide = np.frombuffer(stored.raw, "<u2").astype("<u4") << 16
        found = wide.view("<f4")
    elif stored.dtype in _TYPES:
        found = np.frombuffer(stored.raw, _TYPES[stored.dtype])
    else:
        raise SpecError(f"{name} holds whole numbers, and weights are none.")
    return found.astype(np.float64).reshape(stored.shape)
