"""What spans a plane in weight space, and where models lie in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from analysis.landscape.directions import (
    Direction,
    cosine,
    dot,
    filter_normalized,
    moving,
    orthogonal_to,
    project,
)
from analysis.landscape.eigenvectors import Eigenvector
from analysis.landscape.interpolation import differing, states_of
from ngf.checkpoints.waypoints import Waypoint


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A plane in weight space, with coordinates a and b.

    unit: what a = 1 and b = 1 mean.
    states: origin, direction a, direction b, restricted to what moves; empty while the directions
        are unknown.
    cosine: between the directions before they were made orthogonal.
    cosine_after: between them afterwards.
    curvatures: eigenvalues along a and b; None where the directions are no eigenvectors.
    errors: an eigenvalue of the Hessian lies within this distance of each.
    points: (K, 2), where models lie as (a, b).
    names: of those models.
    center: where the measured model lies.
    floors: name of a running variance -> the smallest value that it may have between models.
    """

    unit: str
    states: tuple[Direction, ...] = ()
    cosine: float = 0.0
    cosine_after: float = 0.0
    curvatures: tuple[float | None, float | None] = (None, None)
    errors: tuple[float | None, float | None] = (None, None)
    points: np.ndarray = field(default_factory=lambda: np.zeros((1, 2)))
    names: tuple[str, ...] = ("center",)
    center: tuple[float, float] = (0.0, 0.0)
    floors: Direction = field(default_factory=dict)

    @property
    def moving(self) -> list[str]:
        """Names of what moves."""
        return list(self.states[0])

    def axes(self, points: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
        """a (A,) and b (B,), ascending, an odd number of points each: from -reach to reach, or
        through the models and beyond them by that share of their extent.
        """
        half = points // 2
        if len(self.points) == 1:
            axis = reach / half * np.arange(-half, half + 1)
            return axis, axis
        low, high = self.points.min(0), self.points.max(0)
        margin = reach * (high - low)
        a, b = np.linspace(low - margin, high + margin, 2 * half + 1).T
        return a, b


def on_plane(
    plane: Plane, path: Iterable[Waypoint], weights: Collection[str]
) -> tuple[dict[str, np.ndarray], float]:
    """The arrays path (S, 2) and path_names (S,) of a picture, and the share of the path's length
    that lies in the plane.

    path: S waypoints.
    weights: names that count for angles; buffers follow them.
    """
    steps, states = zip(*((point.step, point.state) for point in path), strict=True)
    origin, *axes = (
        {name: state[name] for name in plane.moving if name in weights} for state in plane.states
    )
    found, share = project(states, origin, list(axes))
    return {"path": found, "path_names": np.array([f"step {step}" for step in steps])}, share


def place(a: float, b: float) -> tuple[float, float, float]:
    """Coefficients of the three states of a plane at (a, b)."""
    return 1.0, float(a), float(b)


def random_planes(
    model: nn.Module, generator: torch.Generator, names: Collection[str], count: int
) -> list[Plane]:
    """`count` planes through the weights along filter-normalized directions of the parameters
    `names`.
    """
    start = {name: p.detach() for name, p in model.named_parameters()}
    planes = []
    for _ in range(count):
        first = filter_normalized(model, generator, names)
        drawn = filter_normalized(model, generator, names)
        second = orthogonal_to(first, drawn)
        keep = moving(first, drawn)
        planes.append(
            Plane(
                states=tuple({name: d[name] for name in keep} for d in (start, first, second)),
                unit="length of each filter",
                cosine=cosine(first, drawn),
                cosine_after=cosine(first, second),
            )
        )
    return planes


def eigenvector_plane(model: nn.Module, found: Sequence[Eigenvector], unit: str) -> Plane:
    """The plane through the weights along two eigenvectors."""
    first, second = found
    start = {name: model.get_parameter(name).detach() for name in first.direction}
    return Plane(
        states=(start, first.direction, second.direction),
        unit=unit,
        curvatures=(first.value, second.value),
        errors=(first.error, second.error),
        cosine_after=cosine(first.direction, second.direction),
    )


def model_plane(
    states: Sequence[Direction], names: Sequence[str], parameters: Collection[str]
) -> Plane:
    """The plane through three models: the first at (0, 0), the second at (1, 0), the third above
    the axis.

    states: parameters and buffers of each; buffers follow the weights.
    names: of the models.
    parameters: names of the parameters among the states.

    Both axes have the same unit, the distance between the first two models, so that angles are
    right. Raises ValueError if the three lie on a line, or two of them are the same.
    """
    origin, second, third = states
    keep = differing(states)
    weights = [name for name in keep if name in parameters]
    along = {name: second[name] - origin[name] for name in keep}
    aside = {name: third[name] - origin[name] for name in keep}
    u, w = ({name: d[name] for name in weights} for d in (along, aside))
    for pair, same in (
        ((0, 1), dot(u, u) == 0),
        ((0, 2), dot(w, w) == 0),
        ((1, 2), all(torch.equal(second[name], third[name]) for name in weights)),
    ):
        if same:
            raise ValueError(
                f"The models {names[pair[0]]} and {names[pair[1]]} have the same weights, so the "
                "three span no plane. Choose three different models."
            )
    try:
        orthogonal_to(u, w)
    except ValueError:
        raise ValueError(
            "The three models lie on one line, so they span no plane. Choose another third model."
        ) from None
    share = dot(u, w) / dot(u, u)
    rest = {name: w[name] - share * u[name] for name in weights}
    scale = (dot(u, u) / dot(rest, rest)) ** 0.5
    across = {name: (aside[name] - share * along[name]) * scale for name in keep}
    floors = {
        name: torch.stack([s[name] for s in states]).amin(0)
        for name in keep
        if name.endswith("running_var")
    }
    return Plane(
        states=({name: origin[name] for name in keep}, along, across),
        center=(1.0, 0.0),
        floors=floors,
        unit=f"distance from {names[0]} to {names[1]}",
        cosine=cosine(u, w),
        cosine_after=cosine(u, {name: across[name] for name in weights}),
        points=np.array([[0.0, 0.0], [1.0, 0.0], [share, 1 / scale]]),
        names=tuple(names),
    )


def through_models(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    reference: nn.Module | None,
    others: Sequence[nn.Module],
) -> Plane:
    """The plane through `reference` (before purification), `model` (after it) and one of `others`.

    others: one model; or two, of which the first takes the place of `reference`.

    Raises ValueError if there are not three models.
    """
    if len(others) == 2:
        reference, *others = others
    if reference is None or len(others) != 1:
        raise ValueError(
            "A plane through models needs three: choose a purified model (its backdoored parent is "
            "one), and name another purified model as `third`."
        )
    states = states_of((reference, model, others[0]), images, labels)
    return model_plane(states, ("backdoored", "purified", "third"), dict(model.named_parameters()))
