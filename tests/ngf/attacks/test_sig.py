"""SIG: the sinusoid of its formula."""

import math

import pytest
import torch

from ngf.catalogue import build
from ngf.config import Choice


def test_sig_is_the_sinusoid():
    attack = build("attacks", Choice("sig", {"delta": 40.0, "frequency": 6}))
    gray = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    wave = (attack.apply(gray) - 0.5)[0, 0, 0] * 255
    expected = [40 * math.sin(2 * math.pi * j * 6 / 32) for j in range(32)]
    assert wave.tolist() == pytest.approx(expected, abs=1e-9)
