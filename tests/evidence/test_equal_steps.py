"""Steps on a last layer, against what the Fisher information says of small ones."""

import math

import numpy as np
import pytest
import torch

from analysis.curvature.last_layer import LastLayer
from evidence import equal_steps
from tests.helpers import cases


@pytest.fixture(scope="module")
def layer() -> LastLayer:
    model, images, _ = cases.conv_net()
    found = LastLayer.of(model, images)
    assert found is not None
    return found


def test_small_steps_of_equal_predictions_are_an_ellipse(layer, monkeypatch):
    monkeypatch.setattr(equal_steps, "KL", 1e-6)
    monkeypatch.setattr(equal_steps, "ANGLES", 8)
    found = equal_steps.steps(layer)
    steep, slow = found["eigenvalues"]
    assert steep >= equal_steps.TIMES**2 * slow > 0
    for angle, length in zip(found["angle"], found["length"], strict=True):
        turn = math.radians(angle)
        form = steep * math.cos(turn) ** 2 + slow * math.sin(turn) ** 2
        assert length == pytest.approx(math.sqrt(2e-6 / form), rel=0.01)
    assert np.log(found["length"]).mean() == pytest.approx(math.log(found["weights"]), abs=1e-4)


def test_every_step_has_the_divergence_that_it_is_told_to_have(layer):
    p = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    push = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    after = (p.log() + push).softmax(1)
    assert equal_steps.kl(p, push) == pytest.approx(float((p * (p / after).log()).sum()))
    assert equal_steps.kl(p, torch.full_like(p, 3.0)) == pytest.approx(0, abs=1e-12)
