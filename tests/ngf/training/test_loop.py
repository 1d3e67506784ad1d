"""The learning rate of the training loop, and the gate after it."""

import pytest

from ngf.config import Training
from ngf.evaluate import Rates
from ngf.training.loop import GateError, check_gate, one_cycle


def test_one_cycle_rises_and_falls():
    rates = [one_cycle(k / 100, 0.1) for k in range(100)]
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates[0] < 0.01 and rates[-1] < 0.001
    assert rates.index(max(rates)) == 25


def test_gate_refuses_a_weak_attack():
    settings = Training(min_asr=0.6)
    with pytest.raises(GateError, match=r"succeeds on 10.0% of 100"):
        check_gate(Rates(95, 100, 10, 80, 100), settings)
    check_gate(Rates(95, 100), settings)
