"""The triangular rate of super-fine-tuning."""

from __future__ import annotations

import pytest

from ngf.defenses.super_ft import triangle
from tests.helpers.purifications import finish, short


def test_the_rate_rises_to_the_peak_and_falls_to_the_base():
    rates = [triangle(0.03, 5.0, step, 10) for step in range(40)]
    rising = [0.03 + 0.497 * k for k in range(10)]
    falling = [5.0 - 0.497 * k for k in range(10)]
    assert rates == pytest.approx([*rising, *falling, *rising, *falling])
    assert [triangle(0.1, 1.0, step, 1) for step in range(4)] == [0.1, 1.0, 0.1, 1.0]
    assert triangle(0.5, 0.1, 4, 4) == pytest.approx(0.1), "a peak may lie below the base"


def test_the_second_phase_has_the_second_peak(problem):
    """`lr` is the first peak; all else is a share of it, or of the steps."""
    options = {"lr": 0.5, "base": 0.02, "later_peak": 0.1, "first_phase": 0.5, "half": 2}
    defense = short("super_ft", steps=8, **options)
    rates = [event.lr for event in finish(defense.purify(problem)) if hasattr(event, "loss")][1:]
    first = [0.01, 0.255, 0.5, 0.255]
    assert rates == pytest.approx([*first, 0.01, 0.03, 0.05, 0.03])
