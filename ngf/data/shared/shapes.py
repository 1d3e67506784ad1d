"""Vector drawing by signed distances: a shape is a function of the plane that is negative inside
it.

A picture is a list of (shape, color) painted over each other. Distances make edges smooth at any
resolution, with no font and no drawing library. Coordinates: x right, y down, the picture spans
[-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Shape = Callable[[Tensor, Tensor], Tensor]
Color = tuple[float, float, float]


def circle(radius: float, x: float = 0.0, y: float = 0.0) -> Shape:
    return lambda px, py: torch.hypot(px - x, py - y) - radius


def polygon(num_sides: int, radius: float, angle: float = 0.0, corner: float = 0.0) -> Shape:
    """Regular polygon with inscribed circle `radius`; `angle` in degrees turns it, `corner`
    rounds it.
    """
    normals = [math.radians(angle + 360 * k / num_sides) for k in range(num_sides)]

    def distance(px: Tensor, py: Tensor) -> Tensor:
        sides = torch.stack(
            [px * math.cos(a) + py * math.sin(a) - (radius - corner) for a in normals]
        )
        # The smooth maximum rounds the corners.
        return (
            sides.amax(0) - corner
            if corner == 0
            else corner * torch.logsumexp(sides / corner, 0) - corner
        )

    return distance


def box(width: float, height: float, x: float = 0.0, y: float = 0.0, corner: float = 0.0) -> Shape:
    """Rectangle of half sizes `width`, `height` around (x, y)."""

    def distance(px: Tensor, py: Tensor) -> Tensor:
        qx, qy = (px - x).abs() - width + corner, (py - y).abs() - height + corner
        return (
            torch.hypot(qx.clamp_min(0), qy.clamp_min(0))
            + torch.maximum(qx, qy).clamp_max(0)
            - corner
        )

    return distance


def stroke(points: Sequence[tuple[float, float]], width: float) -> Shape:
    """A round-ended pen of half width `width` through `points`."""

    def distance(px: Tensor, py: Tensor) -> Tensor:
        best = torch.full_like(px, math.inf)
        for (ax, ay), (bx, by) in zip(points, points[1:], strict=False):
            dx, dy = bx - ax, by - ay
            length2 = max(dx * dx + dy * dy, 1e-12)  # two equal points make a dot
            along = (((px - ax) * dx + (py - ay) * dy) / length2).clamp(0, 1)
            best = torch.minimum(best, torch.hypot(px - ax - along * dx, py - ay - along * dy))
        return best - width

    return distance


def arc(
    x: float, y: float, radius: float, start: float, end: float, steps: int = 14
) -> list[tuple[float, float]]:
    """Points on a circle from angle `start` to `end` in degrees (0 is right, 90 is down)."""
    angles = [math.radians(start + (end - start) * k / steps) for k in range(steps + 1)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def paint(layers: Sequence[tuple[Shape, Color]], size: int) -> Tensor:
    """Render layers bottom to top. Returns float (4, size, size): red, green, blue, opacity
    in [0, 1].
    """
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    py, px = torch.meshgrid(axis, axis, indexing="ij")
    color, opacity = torch.zeros(3, size, size), torch.zeros(1, size, size)
    for shape, rgb in layers:
        cover = (0.5 - shape(px, py) * size / 2).clamp(0, 1)
        color = color * (1 - cover) + torch.tensor(rgb).view(3, 1, 1) * cover
        opacity = opacity * (1 - cover) + cover
    return torch.cat([color, opacity])
