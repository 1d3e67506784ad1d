"""The directions of steepest curvature: of the Hessian H, or of D H D with D the length of each
filter, which no rescaling of a layer changes (see `analysis.curvature.rescale`).

A distance along them is a predicted rise of the loss, so that all look alike and their shape is
seen; or a length, so that the steeper one of two models is steeper in a picture, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from analysis.curvature.krylov import lanczos
from analysis.curvature.operators import Hessian, Scaled
from analysis.curvature.rescale import scaling
from analysis.landscape.directions import Direction, from_flat

_TOLERANCE = 0.01  # residual of a converged eigenvalue, relative to it: 0.5 % on the axis
# Two eigenvalues of a model of the zoo are that certain after about 10 products; further ones lie
# closer to the bulk and take more.
_MOST_PRODUCTS, _PRODUCTS_MORE = 40, 20
_ROUNDING = 1e-6  # an eigenvalue below this share of the largest is not positive, whatever its sign


@dataclass(frozen=True, kw_only=True)
class Eigenvector:
    """An eigenvector with a positive eigenvalue, of H or of D H D.

    value: Ritz value.
    error: an eigenvalue lies within this distance of it.
    direction: s v, or s D v, for the unit vector v. At distance d along it the quadratic model
        rises by value (s d)^2 / 2: by d^2 with s = sqrt(2 / value), where a distance is a rise. s
        is 1 where it is a length.
    """

    value: float
    error: float
    direction: Direction


def top_eigenvectors(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    count: int,
    generator: Generator,
    *,
    filters: bool = False,
    distance: str = "rise",
) -> Iterator[tuple[list[Eigenvector], int]]:
    """Yield the `count` largest so far, descending, and the number of products.

    names: of the parameters that may move.
    filters: whether those of D H D; then biases and BatchNorm do not move.
    distance: of `analysis.distances`, what 1 along a direction is.

    The last ones have converged, or are as good as 40 products (20 more for each after the second)
    make them; `error` says which. Yields nothing before all are positive. Raises ValueError if
    there are fewer than `count` directions of positive curvature.
    """
    hessian = Hessian(model, images, labels, names=names)
    parameters = {name: model.get_parameter(name) for name in names}
    sizes = scaling(parameters, "filter") if filters else None
    operator = hessian if sizes is None else Scaled(hessian, sizes)
    stream = lanczos(operator, _MOST_PRODUCTS + _PRODUCTS_MORE * max(0, count - 2), generator)
    found: list[Eigenvector] = []
    for ritz in stream:
        values, errors = ritz.values[::-1][:count], ritz.residuals[::-1][:count]
        steps = len(ritz.values)
        if steps < count or values[-1] <= _ROUNDING * values[0]:
            continue
        found = [
            Eigenvector(
                value=float(value),
                error=float(error),
                direction=from_flat(
                    ritz.vector(steps - 1 - k)
                    * (math.sqrt(2 / value) if distance == "rise" else 1.0)
                    * (1.0 if sizes is None else sizes.to(hessian.dtype)),
                    parameters,
                ),
            )
            for k, (value, error) in enumerate(zip(values, errors, strict=True))
        ]
        yield found, steps
        if (errors <= _TOLERANCE * values).all():
            return
    if not found:
        raise ValueError(
            f"The loss curves upward in fewer than {count} directions here, so there are no "
            f"{count} eigenvectors to walk along. Choose more layers, or random directions."
        )
