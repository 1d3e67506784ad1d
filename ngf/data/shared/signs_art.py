"""The twelve signs as vector drawings: lists of (shape, color), bottom to top."""

from __future__ import annotations

import functools

import torch

from ngf.data.shared.shapes import Color, Shape, arc, box, circle, paint, polygon, stroke

RED: Color = (0.78, 0.07, 0.11)
WHITE: Color = (0.97, 0.97, 0.95)
BLACK: Color = (0.09, 0.09, 0.10)
BLUE: Color = (0.04, 0.30, 0.65)
YELLOW: Color = (0.98, 0.78, 0.07)

_PEN = 0.072  # half the width of a digit's strokes


def _moved(points: list[tuple[float, float]], x: float) -> list[tuple[float, float]]:
    return [(px + x, py) for px, py in points]


# Digits as pen strokes in a cell of half width 0.2 and half height 0.36.
_DIGITS = {
    "0": arc(0, -0.14, 0.2, 180, 360) + arc(0, 0.14, 0.2, 0, 180) + [(-0.2, -0.14)],
    "3": arc(0, -0.18, 0.17, 200, 430) + arc(0, 0.17, 0.19, -80, 160),
    "5": [(0.18, -0.36), (-0.16, -0.36), (-0.18, -0.02)] + arc(-0.01, 0.15, 0.2, -130, 150),
    "8": arc(0, -0.18, 0.155, 90, 450, 20) + arc(0, 0.165, 0.19, -90, 270, 20),
}


def _limit(text: str) -> list[tuple[Shape, Color]]:
    left, right = text[0], text[1]
    return [
        (circle(0.94), WHITE),
        (circle(0.9), RED),
        (circle(0.66), WHITE),
        (stroke(_moved(_DIGITS[left], -0.27), _PEN), BLACK),
        (stroke(_moved(_DIGITS[right], 0.27), _PEN), BLACK),
    ]


def _turn(side: float) -> list[tuple[Shape, Color]]:
    """A bent arrow to the right (side = 1) or left (side = -1)."""
    shaft = [(-0.28 * side, 0.52), (-0.28 * side, -0.02), (0.2 * side, -0.02)]
    head = [(0.12 * side, -0.34), (0.48 * side, -0.02), (0.12 * side, 0.3)]
    return [
        (circle(0.94), WHITE),
        (circle(0.88), BLUE),
        (stroke(shaft, 0.11), WHITE),
        (stroke(head, 0.1), WHITE),
    ]


def _letters() -> list[Shape]:
    """The word STOP as four strokes."""
    s = arc(-0.5, -0.09, 0.09, -20, -270, 8) + arc(-0.5, 0.09, 0.09, -90, 160, 8)
    o = arc(0.17, -0.08, 0.1, 180, 360, 8) + arc(0.17, 0.08, 0.1, 0, 180, 8) + [(0.07, -0.08)]
    p = (
        [(0.42, 0.19), (0.42, -0.18), (0.5, -0.18)]
        + arc(0.5, -0.08, 0.1, -90, 90, 8)
        + [(0.42, 0.02)]
    )
    return [
        stroke(s, 0.05),
        stroke([(-0.3, -0.18), (-0.05, -0.18)], 0.05),
        stroke([(-0.175, -0.18), (-0.175, 0.19)], 0.05),
        stroke(o, 0.05),
        stroke(p, 0.05),
    ]


SIGNS: dict[str, list[tuple[Shape, Color]]] = {
    "stop": [(polygon(8, 0.92), WHITE), (polygon(8, 0.86), RED)]
    + [(letter, WHITE) for letter in _letters()],
    "limit 30": _limit("30"),
    "limit 50": _limit("50"),
    "limit 80": _limit("80"),
    "yield": [
        (polygon(3, 0.52, -90, 0.05), WHITE),
        (polygon(3, 0.49, -90, 0.05), RED),
        (polygon(3, 0.28, -90, 0.02), WHITE),
    ],
    "no entry": [(circle(0.94), WHITE), (circle(0.89), RED), (box(0.6, 0.15, corner=0.03), WHITE)],
    "priority road": [
        (polygon(4, 0.7, 45, 0.03), BLACK),
        (polygon(4, 0.68, 45, 0.03), WHITE),
        (polygon(4, 0.48, 45, 0.02), YELLOW),
    ],
    "turn right": _turn(1.0),
    "turn left": _turn(-1.0),
    "straight ahead": [
        (circle(0.94), WHITE),
        (circle(0.88), BLUE),
        (stroke([(0, 0.56), (0, -0.3)], 0.11), WHITE),
        (stroke([(-0.32, -0.12), (0, -0.5), (0.32, -0.12)], 0.1), WHITE),
    ],
    "warning": [
        (polygon(3, 0.52, 90, 0.05), WHITE),
        (polygon(3, 0.49, 90, 0.05), RED),
        (polygon(3, 0.31, 90, 0.02), WHITE),
        (stroke([(0, -0.28), (0, 0.05)], 0.075), BLACK),
        (circle(0.085, 0, 0.27), BLACK),
    ],
    "parking": [
        (box(0.84, 0.84, corner=0.14), WHITE),
        (box(0.78, 0.78, corner=0.1), BLUE),
        (
            stroke(
                [(-0.24, 0.5), (-0.24, -0.46), (0.08, -0.46)]
                + arc(0.08, -0.19, 0.27, -90, 90)
                + [(-0.24, 0.08)],
                0.11,
            ),
            WHITE,
        ),
    ],
}


@functools.cache
def templates(size: int = 128) -> torch.Tensor:
    """All signs: float (12, 4, size, size), the colors multiplied by the opacity."""
    drawn = torch.stack([paint(layers, size) for layers in SIGNS.values()])
    return torch.cat([drawn[:, :3] * drawn[:, 3:], drawn[:, 3:]], 1)
