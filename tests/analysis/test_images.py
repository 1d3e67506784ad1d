"""Which images a measurement gets."""

from __future__ import annotations

import pytest
import torch

from analysis.images import select
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack
from ngf.config import Choice
from ngf.data import load
from ngf.options import SpecError


def test_the_images_are_those_of_the_attack(runs):
    splits, attack = load("signs"), load_attack(runs[1])
    clean, _ = select(splits, attack, "clean", 50, 3)
    again, _ = select(splits, attack, "clean", 50, 3)
    assert torch.equal(clean, again)
    assert clean.dtype == torch.float32
    assert 0 <= clean.min() <= clean.max() <= 1
    triggered, true = select(splits, attack, "triggered_true", 50, 3)
    same, wanted = select(splits, attack, "triggered_target", 50, 3)
    assert torch.equal(triggered, same)
    assert (wanted == attack.target).all()
    assert (true != attack.target).all()
    everything, _ = select(splits, attack, "clean", 10**6, 3)
    assert len(everything) == len(splits.test)
    with pytest.raises(SpecError, match="without an attack"):
        select(splits, build("attacks", Choice("none")), "triggered_true", 50, 3)
