"""Running statistics of BatchNorm, estimated anew."""

from __future__ import annotations

import copy

import pytest
import torch

from analysis.landscape.interpolation import pieces, reestimate
from tests.helpers import cases


def test_statistics_are_those_of_train_mode():
    model, _, _ = cases.conv_net()
    images = torch.rand(300, 3, 8, 8, dtype=torch.float64)
    found, wanted = copy.deepcopy(model).eval(), copy.deepcopy(model)
    reestimate(found, images)
    assert not any(module.training for module in found.modules())
    assert found.bn1.momentum == 0.1
    sizes = [len(part) for part in pieces(images)]
    assert sizes == [100, 100, 100]
    for module in (wanted.bn1, wanted.bn2):
        module.momentum = None
        module.reset_running_stats()
    for part in images.split(100):
        wanted.train()(part)
    for name in ("bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.running_var"):
        torch.testing.assert_close(
            found.state_dict()[name], wanted.state_dict()[name], rtol=1e-12, atol=0
        )
    with pytest.raises(ValueError, match="cannot be estimated from one image"):
        reestimate(found, images[:1])
