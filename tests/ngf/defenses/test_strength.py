"""The rule that finds how far a defense may go."""

import pytest

from ngf.defenses.strength import half_decade, largest_harmless
from tests.helpers.purifications import asked


def harmless(after, *rule):
    return asked(largest_harmless(*rule), after)


def below(limit: float, tried: list[float]):
    """Clean accuracy that is kept up to a rate, and lost above it."""

    def after(lr: float) -> float:
        tried.append(lr)
        return 0.99 if lr <= limit else 0.2

    return after


@pytest.mark.parametrize("usual", [0.2, 0.003])
def test_the_open_rule_finds_the_rate_wherever_it_lies(usual):
    for k in range(-6, 14):
        tried: list[float] = []
        limit = half_decade(usual, k)
        assert harmless(below(limit, tried), 0.99, usual, 1e99) == (limit, 0.99)
        assert len(tried) == len(set(tried)) <= 3 + abs(k) // 2
    rates = [half_decade(usual, k) for k in range(-6, 7)]
    steps = [b / a for a, b in zip(rates, rates[1:], strict=False)]
    assert all(2.9 < step < 3.4 for step in steps)


def test_the_open_rule_ends_where_it_must():
    tried: list[float] = []
    assert harmless(below(1e9, tried), 0.99, 0.2, 100.0) == (60.0, 0.99)
    assert max(tried) <= 100.0, "no rate that the option does not let through"
    tried.clear()
    lr, _kept = harmless(below(1e99, tried), 0.99, 0.2, float("inf"))
    assert lr == 6e5 and len(tried) == 8, "a rate that does nothing is not tried for ever"
    assert harmless(below(0.0, tried), 0.99, 0.2, 100.0) == (0.0002, 0.2), "none is harmless"
    diverges = harmless(lambda lr: None if lr < 0.1 else 0.5, 0.99, 0.2, 100.0)
    assert diverges == (0.2, 0.5), "the smallest that is sound"
    assert harmless(lambda lr: None, 0.99, 0.2, 100.0) == (0.0002, None)
    assert harmless(lambda lr: 0.99 if lr < 0.05 else None, 0.99, 0.2, 100.0) == (
        0.02,
        0.99,
    )


def test_where_every_rate_harms_the_one_that_harms_least_is_taken():
    """As with a new classifier, which too small a rate does not learn."""
    kept = {0.2: 0.6, 0.02: 0.93, 0.002: 0.4, 0.0002: 0.1}
    assert harmless(kept.__getitem__, 0.99, 0.2, 100.0) == (0.02, 0.93)
    kept |= {0.2: None}
    assert harmless(kept.__getitem__, 0.99, 0.2, 100.0) == (0.02, 0.93)
