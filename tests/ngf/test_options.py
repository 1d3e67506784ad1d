"""Options: what is unknown or out of range is refused with what is allowed."""

import pytest

from ngf.catalogue import build, names
from ngf.config import Choice
from ngf.options import SpecError


def test_unknown_options_and_values_list_what_is_allowed():
    with pytest.raises(SpecError, match=f"Allowed: {', '.join(names('attacks'))}."):
        build("attacks", Choice("badnet"))
    with pytest.raises(SpecError, match="badnets has no option colour. Allowed: target, mode"):
        build("attacks", Choice("badnets", {"colour": 1}))
    with pytest.raises(
        SpecError, match=r"badnets.alpha = 2.0 is out of range. Allowed: from 0.01 to 1.0"
    ):
        build("attacks", Choice("badnets", {"alpha": 2}))
    with pytest.raises(SpecError, match="Allowed: sticker, checkerboard"):
        build("attacks", Choice("badnets", {"pattern": "dots"}))


def test_a_rate_that_is_out_of_range_lists_what_is_allowed():
    with pytest.raises(
        SpecError, match=r"poison_rate = 1.5 is out of range. Allowed: from 0.0001 to 0.9"
    ):
        build("attacks", Choice("badnets", {"poison_rate": 1.5}))
