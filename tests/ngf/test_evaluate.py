"""Intervals of rates, and the rating of a defense."""

import pytest

from ngf.evaluate import Rates, der, wilson


def test_wilson_and_der():
    assert wilson(0, 10) == pytest.approx([0.0, 0.2775], abs=1e-4)
    assert wilson(95, 100) == pytest.approx([0.8882, 0.9785], abs=1e-4)
    assert der(Rates(99, 100, 100, 0, 100), Rates(98, 100, 10, 88, 100)) == pytest.approx(0.945)
    assert der(Rates(99, 100), Rates(98, 100)) is None
