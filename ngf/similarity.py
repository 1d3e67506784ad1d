"""Structural similarity of images: Wang, Bovik, Sheikh, Simoncelli 2004 (IEEE TIP 13(4), eq. 13).

    SSIM(x, y) = (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2))

with means m, variances s^2 and covariance s_xy under a window whose weights sum to 1, and
C1 = 0.01^2 and C2 = 0.03^2 for pixels in [0, 1]. The paper's window is an 11x11 Gaussian with a
standard deviation of 1.5 pixels; a flat window is what generators are trained with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_C1, _C2 = 0.01**2, 0.03**2


def structural_similarity(
    x: Tensor, y: Tensor, *, side: int = 11, sigma: float | None = 1.5
) -> Tensor:
    """SSIM wherever the window lies inside the image: (N, C, H', W'); 1 means equal.

    x, y: float (N, C, H, W) in [0, 1].
    side: of the square window, an odd number of pixels. Images smaller than that get the largest
        odd window that fits.
    sigma: standard deviation of a Gaussian window in pixels; None for a flat window.

    Differentiable in both images. Average over the places, the channels or the images as you need.
    """
    side = min(side, *x.shape[2:])
    side -= 1 - side % 2
    mean = _flat(side) if sigma is None else _gaussian(side, sigma, x)
    mean_x, mean_y = mean(x), mean(y)
    var_x = mean(x * x) - mean_x * mean_x
    var_y = mean(y * y) - mean_y * mean_y
    cov = mean(x * y) - mean_x * mean_y
    return (
        (2 * mean_x * mean_y + _C1)
        * (2 * cov + _C2)
        / ((mean_x * mean_x + mean_y * mean_y + _C1) * (var_x + var_y + _C2))
    )


def _flat(side: int) -> Callable[[Tensor], Tensor]:
    """The mean over each window: (N, C, H, W) -> (N, C, H', W')."""
    return lambda maps: F.avg_pool2d(maps, side, 1)


def _gaussian(side: int, sigma: float, like: Tensor) -> Callable[[Tensor], Tensor]:
    """The weighted mean over each window, for maps of the shape, type and device of `like`."""
    # A Gaussian is a product, so one axis after the other; as matrices, which are fast for any
    # number of channels.
    down, across = (_weights(size, side, sigma).to(like) for size in like.shape[2:])
    return lambda maps: down @ (maps @ across.T)


def _weights(size: int, side: int, sigma: float) -> Tensor:
    """Along one axis: row i holds the weights of the window that starts at pixel i, float64
    (size - side + 1, size).
    """
    place = torch.arange(size)[None, :] - torch.arange(size - side + 1)[:, None] - side // 2
    weights = torch.exp(-(place.double() ** 2) / (2 * sigma**2)) * (place.abs() <= side // 2)
    return weights / weights.sum(1, keepdim=True)
