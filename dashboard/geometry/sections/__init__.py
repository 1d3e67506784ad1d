"""The sections of the page, from the picture to the doubt; then what measurements declare."""

from __future__ import annotations

from dashboard.geometry.section import Section
from dashboard.geometry.sections import (
    curvature,
    layers,
    loss,
    numbers,
    rescaling,
    second_opinion,
    surface,
    way,
)
from dashboard.geometry.sections.declared import declared


def sections() -> tuple[Section, ...]:
    """All of them, in the order of the page."""
    return (
        loss.SECTION,
        surface.SECTION,
        curvature.SECTION,
        numbers.SECTION,
        second_opinion.SECTION,
        layers.SECTION,
        way.SECTION,
        rescaling.SECTION,
        *declared(),
    )
