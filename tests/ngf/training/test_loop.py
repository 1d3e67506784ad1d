"""The learning rate of the training loop, and the gates after it."""

import pytest

from ngf.config import Training
from ngf.evaluate import Rates
from ngf.training.loop import missed_gates, one_cycle


def test_one_cycle_rises_and_falls():
    rates = [one_cycle(k / 100, 0.1) for k in range(100)]
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates[0] < 0.01 and rates[-1] < 0.001
    assert rates.index(max(rates)) == 25


def test_a_gate_is_missed_below_it_and_not_at_it():
    settings = Training(min_ca=0.8, min_asr=0.6)
    (missed,) = missed_gates(Rates(95, 100, 10, 80, 100), settings)
    assert missed["gate"] == "min_asr" and missed["value"] == 0.1 and missed["wanted"] == 0.6
    assert "succeeds on 10.0% of 100 triggered test images; at least 60%" in missed["reason"]
    (missed,) = missed_gates(Rates(79, 100, 60, 0, 100), settings)
    assert missed["gate"] == "min_ca" and "79.0% on 100 test images" in missed["reason"]
    both = missed_gates(Rates(0, 100, 0, 0, 100), settings)
    assert [item["gate"] for item in both] == ["min_ca", "min_asr"]
    assert missed_gates(Rates(80, 100, 60, 0, 100), settings) == []
    assert missed_gates(Rates(80, 100), settings) == [], "a benign model has no attack"
