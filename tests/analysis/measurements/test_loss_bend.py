"""A trained bend is never worse than the line, and goes around what lies on it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from analysis.measurements.loss_bend import LossBend
from analysis.measurements.loss_line import LossLine
from tests.helpers import cases, oracles
from tests.helpers.streams import last


def permuted(model):
    """The same function with its hidden units in another order: a line to it has a barrier."""
    other, order = copy.deepcopy(model), torch.arange(model[1].out_features).flip(0)
    other[1].weight.data, other[1].bias.data = (
        model[1].weight.data[order],
        model[1].bias.data[order],
    )
    other[3].weight.data = model[3].weight.data[:, order]
    return other


def test_a_bend_goes_around_a_barrier():
    torch.manual_seed(0)
    images, labels = torch.rand(40, 3, 8, 8, dtype=torch.float64), torch.randint(0, 4, (40,))
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    other = permuted(model)
    partials = list(
        LossBend(points=9, steps=60, lr=0.05).measure(
            model, images, labels, seed=0, reference=other
        )
    )
    values, arrays = partials[-1].values, partials[-1].arrays
    assert values["barrier_line"] > 0.1
    assert values["highest_bend"] < 0.7 * values["highest_line"]
    assert values["length_bend"] > values["length_line"]
    assert len(arrays["train_loss"]) == values["steps_done"] == 60
    for end, net in ((0, other), (-1, model)):
        loss, rate = oracles.loss_and_accuracy(net, net.state_dict(), images, labels)
        for name in ("loss", "line_loss"):
            assert arrays[name][end] == pytest.approx(loss, rel=1e-12)
        assert arrays["ca"][end] == rate
    for early in partials:
        assert early.values["highest_bend"] <= early.values["highest_line"]
    straight = last(
        LossLine(points=9).measure(model, images, labels, seed=0, reference=other)
    ).arrays["loss"]
    np.testing.assert_allclose(arrays["line_loss"], straight, rtol=1e-12)


@pytest.mark.parametrize("between", ["interpolated", "reestimated"])
def test_a_bend_is_never_worse_than_the_line(between):
    model, images, labels = cases.conv_net()
    other = cases.purified(model)
    before = copy.deepcopy(model.state_dict())
    for partial in LossBend(points=5, steps=6, lr=0.5, batch_norm_between=between).measure(
        model, images, labels, seed=0, reference=other
    ):
        assert partial.values["highest_bend"] <= partial.values["highest_line"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_bend_needs_two_models():
    model, images, labels = cases.conv_net()
    with pytest.raises(ValueError, match="A bend needs two models"):
        next(LossBend().measure(model, images, labels, seed=0))
