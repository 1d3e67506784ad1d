"""A network of somebody else that takes images in [0, 1] like ours: it normalizes them itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ngf.models.of_others.table import other

INSIDE = "network."  # what the names of its weights begin with here


class Normalized(nn.Module):
    """network((x - mean) / std), the channels reversed before where the network takes BGR.

    Mean and standard deviation are no weights: nothing trains them, and no file holds them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], order: str = "rgb"
    ) -> None:
        super().__init__()
        self.network = network
        self.reversed = order == "bgr"
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images: float (N, C, H, W) in [0, 1] -> logits (N, num_classes)."""
        if self.reversed:
            images = images.flip(1)
        return self.network((images - self.mean) / self.std)


def build_other(
    name: str,
    num_classes: int,
    in_channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    order: str = "rgb",
) -> Normalized:
    """A network of others, freshly initialized. mean, std: a number for each channel. Raises
    NoTimm.
    """
    return Normalized(other(name).build(num_classes, in_channels), mean, std, order)
