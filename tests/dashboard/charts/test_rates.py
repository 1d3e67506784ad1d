"""The three rates are drawn as the images that they are measured on."""

from __future__ import annotations

from analysis.image_kinds import KINDS
from dashboard.charts.rates import RATES
from dashboard.charts.style import IMAGES


def test_a_rate_is_drawn_as_the_images_that_it_is_measured_on() -> None:
    by_rate = {kind.rate: IMAGES[kind.name] for kind in KINDS.values() if kind.test}
    assert {rate.key: rate.mark for rate in RATES} == by_rate
