"""Structural similarity is its formula over every window."""

import numpy as np
import pytest
import torch

from ngf.attacks.shared.generator import ssim


def test_ssim_is_the_mean_over_windows():
    a, b = torch.rand(2, 1, 8, 9, dtype=torch.float64), torch.rand(2, 1, 8, 9, dtype=torch.float64)
    values = []
    for n in range(2):
        for top in range(2):
            for left in range(3):
                x, y = (z[n, 0, top : top + 7, left : left + 7].flatten().numpy() for z in (a, b))
                cov = np.cov(x, y, bias=True)
                values.append(
                    (2 * x.mean() * y.mean() + 1e-4)
                    * (2 * cov[0, 1] + 9e-4)
                    / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4))
                )
    assert ssim(a, b).item() == pytest.approx(np.mean(values), abs=1e-12)
    assert ssim(a, a).item() == pytest.approx(1.0, abs=1e-12)
