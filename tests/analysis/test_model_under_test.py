"""What cannot be measured is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.measurements.hessian_spectrum import HessianSpectrum


def test_batch_norm_without_statistics_is_refused():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )
    with pytest.raises(
        ValueError, match=r"BatchNorm 1 keeps no running statistics.*track_running_stats=True"
    ):
        next(
            HessianSpectrum().measure(
                net, torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64), seed=0
            )
        )
