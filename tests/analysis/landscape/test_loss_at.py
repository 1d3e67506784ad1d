"""The closed form of the last layer, where two classes are equally likely."""

from __future__ import annotations

import torch
from torch import nn

from analysis.landscape.loss_at import LossAt


def test_a_tie_goes_to_the_first_class():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double().eval().requires_grad_(False)
    model[1].weight.zero_()
    model[1].bias.zero_()
    images, labels = torch.rand(8, 3, 2, 2).double(), torch.arange(8) % 4
    still = {"1.weight": model[1].weight.clone()}
    (reading,) = LossAt(model, images, labels, ["1.weight"])([still], [(1.0,)])
    assert reading.rate == (model(images).argmax(1) == labels).double().mean() == 0.25
