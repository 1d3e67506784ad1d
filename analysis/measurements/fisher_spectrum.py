"""Spectrum of the true Fisher information: the directions in which the predictions react to the
weights.

Karakida, Akaho, Amari 2019 (arXiv 1806.01316) for the quantity. F = 1/n sum_i J_i^T S_i S_i^T J_i
with S_i S_i^T = diag p_i - p_i p_i^T of rank C - 1, so the n (C - 1) rows A = (S_i^T J_i) give all
of it: its eigenvalues other than zero are those of the Gram matrix A A^T / n. Two methods:

    gram     The Gram matrix, by C - 1 gradients of each image: every eigenvalue, exactly, without
             sampling.
    lanczos  Products with F, which is the Gauss-Newton matrix: extremes, trace and density with
             error bars.

`auto` takes the Gram matrix when it has at most 512 rows, of at most 256 MiB together, and no more
gradients are needed than Lanczos would make products. Beyond that A A^T alone costs more than the
products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.curvature.fisher import softmax_root
from analysis.curvature.gradients import per_image_gradients, predictions
from analysis.curvature.krylov_pass import krylov_pass, layers_of
from analysis.curvature.operators import GaussNewton
from analysis.measurements.base import Measurement
from analysis.model_under_test import blocks_of, exact_float32, frozen_copy, parameters_of
from analysis.result import Partial, Value
from ngf.environment import wide
from ngf.options import option

MOST_ROWS, MOST_BYTES = 512, 2**28


@dataclass(frozen=True, kw_only=True)
class FisherSpectrum(Measurement):
    """Eigenvalues, trace and spectral density of the true Fisher information.

    The labels of the data play no part.

    Values:
        fisher_lambda_max, fisher_lambda_max_error: an eigenvalue lies within the error.
        fisher_trace, fisher_trace_stderr: 0 for `gram`, which is exact.
        fisher_trace_low, fisher_trace_high: the 95 % interval.
        method: gram or lanczos.
        num_products: with the matrix, or gradients per image, so far.
        num_parameters: of the measured layers.
        note: only if memory ran out.

    Arrays:
        nodes, weights, eigenvalues, residuals, layers, layer_trace, layer_trace_stderr, layer_size:
            as of the Hessian spectrum.
    """

    title: ClassVar[str] = "Fisher spectrum"

    method: str = option(
        "auto",
        "Gram matrix of all gradients, Lanczos, or whichever is cheaper.",
        choices=("auto", "gram", "lanczos"),
        expert=True,
    )
    steps: int = option(24, "Lanczos steps from each start vector.", unit="products", ge=1, le=500)
    probes: int = option(20, "Random vectors for the trace.", unit="products", ge=2, le=1000)
    vectors: int = option(2, "Start vectors of the density.", unit="vectors", ge=1, le=30)

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each product, or after each gradient of all
        images.

        Raises ValueError where method = gram would need more than 4 GiB.
        """
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        names = parameters_of(frozen, self.layers)
        if self._by_gram(frozen, names, images):
            for partial in _gram(frozen, names, images):
                yield replace(partial, values={**partial.values, "method": "gram", **stamp()})
            return
        operator = GaussNewton(frozen, images, labels, names=names)
        for known in krylov_pass(
            operator,
            torch.Generator().manual_seed(seed),
            steps=self.steps,
            probes=self.probes,
            vectors=self.vectors,
        ):
            values: dict[str, Value] = {
                f"fisher_{key}": value
                for key, value in known.values().items()
                if "lambda_min" not in key
            }
            values |= {
                "method": "lanczos",
                "num_products": known.products,
                "num_parameters": operator.size,
                **stamp(),
            }
            if operator.note:
                values["note"] = operator.note
            yield Partial(
                values=values,
                arrays=known.arrays(),
                fraction=known.fraction,
                done=known.done,
            )

    def _by_gram(self, model: nn.Module, names: list[str], images: Tensor) -> bool:
        rank = predictions(model, images[:1]).shape[1] - 1
        rows = len(images) * rank
        row_bytes = sum(model.get_parameter(name).nbytes for name in names)
        # Who asks for it gets it as long as the rows fit a machine of 8 GiB: 4 GiB.
        if self.method == "gram" and not 0 < rows * row_bytes <= 16 * MOST_BYTES:
            raise ValueError(
                f"The {rows} rows of the Gram matrix take {rows * row_bytes / 2**30:.1f} GiB; "
                "allowed are 1 row to 4 GiB. Choose method = lanczos, fewer images, or a few "
                "layers."
            )
        if self.method != "auto":
            return self.method == "gram"
        cheap = rank <= self.steps * self.vectors + self.probes
        return cheap and 0 < rows <= MOST_ROWS and rows * row_bytes <= MOST_BYTES


def _gram(model: nn.Module, names: list[str], images: Tensor) -> Iterator[Partial]:
    """All of it from the n (C - 1) rows; nothing is known before the last of them."""
    p = predictions(model, images).softmax(1)
    rank = p.shape[1] - 1
    columns = []
    for j in range(rank):
        unit = torch.zeros_like(p)
        unit[:, j] = 1
        found = per_image_gradients(model, names, images, softmax_root(p, unit))
        columns.append(
            torch.cat(
                [
                    torch.cat([part.flatten(1) for part in gradient.values()], 1)
                    for gradient in found
                ]
            )
        )
        yield Partial(
            values=_values(None, None, None, j + 1, columns[0].shape[1]),
            fraction=(j + 1) / (rank + 1),
        )
    rows = torch.cat(columns)  # (n (C - 1), P)
    dtype = wide(rows)
    layers = layers_of(blocks_of({name: model.get_parameter(name).numel() for name in names}))
    gram = torch.zeros(len(rows), len(rows), dtype=dtype, device=rows.device)
    traces = []
    for where in layers.values():  # layer by layer, so that no float64 copy of all rows is needed
        part = rows[:, where].to(dtype)
        with exact_float32():
            gram += part @ part.T
        traces.append(float(part.square().sum()) / len(images))
    size = rows.shape[1]
    values = torch.linalg.eigvalsh(gram / len(images)).clamp_min(0).cpu().double().numpy()[-size:]
    # The rows are rounded; the factor 4 is that of `analysis.curvature.krylov`.
    error = 4 * torch.finfo(rows.dtype).eps * np.sqrt(len(values)) * values[-1]
    nodes, weights = values, np.full(len(values), 1 / size)
    if size > len(values):
        nodes, weights = np.append(0.0, nodes), np.append(1 - len(values) / size, weights)
    yield Partial(
        values=_values(float(values[-1]), float(error), sum(traces), rank, size),
        fraction=1.0,
        done=True,
        arrays={
            "nodes": nodes,
            "weights": weights,
            "eigenvalues": values,
            "residuals": np.full(len(values), error),
            "layers": np.array(list(layers)),
            "layer_trace": np.array(traces),
            "layer_trace_stderr": np.zeros(len(traces)),
            "layer_size": np.array([where.stop - where.start for where in layers.values()]),
        },
    )


def _values(
    top: float | None, error: float | None, trace: float | None, products: int, size: int
) -> dict[str, Value]:
    return {
        "fisher_lambda_max": top,
        "fisher_lambda_max_error": error,
        "fisher_trace": trace,
        "fisher_trace_stderr": None if trace is None else 0.0,
        "fisher_trace_low": trace,
        "fisher_trace_high": trace,
        "num_products": products,
        "num_parameters": size,
    }
