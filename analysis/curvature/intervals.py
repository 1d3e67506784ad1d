"""Confidence intervals of a mean of few samples. Standard library only."""

from __future__ import annotations

import functools
import math


@functools.cache
def student(degrees: int, confidence: float = 0.95) -> float:
    """t such that a Student variable of so many degrees of freedom lies in [-t, t] with that
    probability.

    By bisection on the finite trigonometric series of the distribution (Abramowitz, Stegun 1964,
    26.7.3-4).
    """
    if degrees < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"degrees = {degrees}, confidence = {confidence} are out of range. Allowed: 1 or more, "
            "and between 0 and 1."
        )
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """P(|t| <= sqrt(degrees) tan(angle))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if degrees % 2 else 1.0
    total = 0.0
    for k in range(degrees % 2, degrees - 1, 2):
        total += term
        term *= (k + 1) / (k + 2) * cosine * cosine
    return 2 / math.pi * (angle + sine * total) if degrees % 2 else sine * total
