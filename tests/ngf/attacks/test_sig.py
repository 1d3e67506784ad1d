"""SIG: the sinusoid of its formula."""

import math

import pytest
import torch

from ngf.catalogue import build
from ngf.config import Choice
from tests.helpers.attack_view import attack, shown


def test_sig_is_the_sinusoid():
    attack = build("attacks", Choice("sig", {"delta": 40.0, "frequency": 6}))
    gray = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    wave = (attack.apply(gray) - 0.5)[0, 0, 0] * 255
    expected = [40 * math.sin(2 * math.pi * j * 6 / 32) for j in range(32)]
    assert wave.tolist() == pytest.approx(expected, abs=1e-9)


def test_sig_shows_other_stripes():
    gray = torch.full((2, 3, 32, 32), 0.5)
    found = {name: probe.images - 0.5 for name, probe in shown(attack("sig"), gray).items()}
    own = found["the trigger"]
    for name, share in (("twice the", 2), ("half the", 0.5), ("a quarter of the", 0.25)):
        assert torch.allclose(found[f"stripes of {name} height"], share * own, atol=1e-6)
    assert torch.allclose(found["stripes from left to right"], own.mT, atol=1e-6)
    for name, count in (("the trigger", 6), ("one stripe more", 7), ("twice as many stripes", 12)):
        assert int(torch.fft.rfft(found[name][0, 0, 0]).abs().argmax()) == count
