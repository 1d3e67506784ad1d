"""Augmentation of whole batches on the device: random shift, and a mirror image where the
class survives it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(
    images: Tensor,
    labels: Tensor,
    rng: torch.Generator,
    *,
    shift: int = 2,
    survives_flip: Tensor | None = None,
) -> Tensor:
    """Shift each image by up to `shift` pixels (edges repeated) and mirror half of those that may
    be.

    images: float (N, C, H, W).
    labels: int64 (N,).
    rng: on the CPU, so that the random numbers are the same on every device.
    survives_flip: bool (num_classes,), or None for never.
    """
    count, _, height, width = images.shape
    device = images.device
    moves = torch.randint(0, 2 * shift + 1, (2, count), generator=rng).to(device)
    flips = torch.rand(count, generator=rng).to(device) < 0.5
    padded = F.pad(images, (shift,) * 4, mode="replicate")
    rows = moves[0, :, None] + torch.arange(height, device=device)
    columns = moves[1, :, None] + torch.arange(width, device=device)
    if survives_flip is not None:
        flips &= survives_flip.to(device)[labels]
        columns = torch.where(flips[:, None], columns.flip(1), columns)
    index = torch.arange(count, device=device)[:, None, None]
    # Advanced indices around the channel slice put the channels last.
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
