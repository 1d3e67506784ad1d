"""One Krylov pass over an operator: extreme eigenvalues, then the trace, then a finer density.

The pass is a stream of frozen states, one after each product, so that a measurement of any operator
can show what is known so far and be stopped at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Generator

from analysis.curvature.krylov import Operator, Ritz, Trace, deflated_trace, density, lanczos
from analysis.model_under_test import layer_of

# Lanczos never stops before: the trace needs the directions that carry most of it, lambda_min more
# steps still.
_LEAST_STEPS = 8


class CurvatureMatrix(Operator, Protocol):
    """An operator over named parameters."""

    @property
    def blocks(self) -> Mapping[str, slice]:
        """Parameter name -> its slice of the vectors."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What is known after some of the products.

    ritz: of the first start vector.
    runs: one per start vector that counts for the density.
    trace: None until there are two probes.
    products: made so far.
    total: of the whole pass, as far as it is known.
    layers: name of each layer -> its slice of the vectors.
    """

    ritz: Ritz
    runs: tuple[Ritz, ...]
    trace: Trace | None
    products: int
    total: int
    layers: Mapping[str, slice]

    @property
    def fraction(self) -> float:
        return self.products / self.total

    @property
    def done(self) -> bool:
        return self.products == self.total

    def values(self) -> dict[str, float | None]:
        """lambda_max, lambda_min with their errors; trace with its standard error and 95 % interval
        (or None).
        """
        ritz, trace = self.ritz, self.trace
        return {
            "lambda_max": float(ritz.values[-1]),
            "lambda_max_error": float(ritz.residuals[-1]),
            "lambda_min": float(ritz.values[0]),
            "lambda_min_error": float(ritz.residuals[0]),
            "trace": trace.value if trace else None,
            "trace_stderr": trace.stderr if trace else None,
            "trace_low": trace.low if trace else None,
            "trace_high": trace.high if trace else None,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """nodes, weights, eigenvalues, residuals; with the trace also layers, layer_trace,
        layer_trace_stderr, layer_size.
        """
        nodes, weights = density(self.runs)
        arrays = {
            "nodes": nodes,
            "weights": weights,
            "eigenvalues": np.array(self.ritz.values),
            "residuals": np.array(self.ritz.residuals),
        }
        if self.trace:
            arrays |= {
                "layers": np.array(list(self.layers)),
                "layer_trace": self.trace.blocks,
                "layer_trace_stderr": self.trace.blocks_stderr,
                "layer_size": np.array(
                    [where.stop - where.start for where in self.layers.values()]
                ),
            }
        return arrays


def krylov_pass(
    operator: CurvatureMatrix,
    generator: Generator,
    *,
    steps: int,
    probes: int,
    vectors: int = 1,
    tolerance: float = 0.0,
) -> Iterator[Pass]:
    """Yield what is known after each product (but not after a single probe, which has no error
    bar); the last state has products = total.

    steps: Lanczos steps from each start vector. The first run stops early, after eight steps or
        more, once lambda_max is certified to the relative `tolerance`; the others are then as
        short.
    probes: random vectors for the trace.
    vectors: start vectors of the density.
    tolerance: 0 for never.
    """
    layers = layers_of(operator.blocks)
    blocks = list(layers.values())
    steps = min(steps, operator.size)
    for products, ritz in enumerate(lanczos(operator, steps, generator, blocks=blocks), start=1):
        known = Pass(
            ritz=ritz,
            runs=(ritz,),
            trace=None,
            products=products,
            total=steps * vectors + probes,
            layers=layers,
        )
        if products == steps or _certain(ritz, tolerance):
            break
        yield known
    steps = known.products
    if steps == operator.size:
        probes = 0  # the basis spans everything
    known = replace(known, runs=(ritz.without_basis(),), total=steps * vectors + probes)
    for trace in deflated_trace(operator, ritz, probes, generator, blocks=blocks):
        known = replace(known, trace=trace, products=steps + trace.probes)
        if trace.probes != 1:
            yield known
    known = replace(known, ritz=known.runs[0])
    del ritz  # its basis is large and no longer needed
    for _ in range(vectors - 1):
        for other in lanczos(operator, steps, generator):
            known = replace(known, products=known.products + 1)
            # A start vector counts once its run is long enough to resolve the bulk as the others
            # do.
            if len(other.values) == steps:
                known = replace(known, runs=(*known.runs, other.without_basis()))
            yield known


def _certain(ritz: Ritz, tolerance: float) -> bool:
    """Whether lambda_max is known to the relative `tolerance`, after enough steps."""
    error, value = ritz.residuals[-1], ritz.values[-1]
    return len(ritz.values) >= _LEAST_STEPS and bool(error <= tolerance * abs(value))


def layers_of(blocks: Mapping[str, slice]) -> dict[str, slice]:
    """Slices of neighboring parameters of one module: module name -> slice; `model` holds what is
    the model's own.

    Raises ValueError if the parameters of a module are not next to each other.
    """
    layers: dict[str, slice] = {}
    for name, where in blocks.items():
        layer = layer_of(name)
        start = layers[layer].start if layer in layers else where.start
        if layer in layers and layers[layer].stop != where.start:
            raise ValueError(
                f"The parameters of {layer} are not next to each other. Give them in the model's "
                "order."
            )
        layers[layer] = slice(start, where.stop)
    return layers
