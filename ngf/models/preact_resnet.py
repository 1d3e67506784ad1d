"""Pre-activation ResNets (He et al. 2016, arXiv 1603.05027) and a plain stack of convolutions.

Unlike some public backdoor code, the ResNet keeps the final BatchNorm and ReLU before pooling, so
that the features of the last layer are non-negative, as the paper's formulas assume.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ngf.data.images import centered


class Normalize(nn.Module):
    """`centered`, as the first layer of a network."""

    def forward(self, images: Tensor) -> Tensor:
        return centered(images)


class PreActBlock(nn.Module):
    """x + conv2(relu(bn2(conv1(relu(bn1(x)))))), the shortcut through a 1x1 convolution where
    shapes differ.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        same = stride == 1 and in_channels == channels
        self.shortcut = None if same else nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(active)
        return skip + self.conv2(F.relu(self.bn2(self.conv1(active))))


class PreActResNet(nn.Module):
    """Stages of PreActBlocks; the first stage keeps the resolution of the stem, each later one
    halves it.

    Layers are named `stem`, `stage<i>.block<j>.conv1|conv2|shortcut`, `linear`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        widths: Sequence[int],
        num_blocks: Sequence[int],
        stem_stride: int,
    ) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.stem = nn.Conv2d(in_channels, widths[0], 3, stem_stride, padding=1, bias=False)
        channels = widths[0]
        self.stages = []
        for i, (width, count) in enumerate(zip(widths, num_blocks, strict=True), start=1):
            stage = nn.Sequential()
            for j in range(1, count + 1):
                stage.add_module(
                    f"block{j}", PreActBlock(channels, width, 2 if i > 1 and j == 1 else 1)
                )
                channels = width
            self.add_module(f"stage{i}", stage)
            self.stages.append(f"stage{i}")
        self.bn = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """images: float (N, C, H, W) in [0, 1] -> logits (N, num_classes)."""
        x = self.stem(self.normalize(images))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.linear(F.relu(self.bn(x)).mean((2, 3)))


class PlainConvNet(nn.Module):
    """Six 3x3 convolutions with BatchNorm and ReLU, halving the resolution at the second, fourth
    and sixth.

    Layers are named `conv1` to `conv6` and `linear`.
    """

    def __init__(
        self, num_classes: int, in_channels: int, widths: Sequence[int] = (16, 16, 32, 32, 64, 64)
    ) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.depth = len(widths)
        channels = in_channels
        for i, width in enumerate(widths, start=1):
            self.add_module(
                f"conv{i}", nn.Conv2d(channels, width, 3, 2 - i % 2, padding=1, bias=False)
            )
            self.add_module(f"bn{i}", nn.BatchNorm2d(width))
            channels = width
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """images: float (N, C, H, W) in [0, 1] -> logits (N, num_classes)."""
        x = self.normalize(images)
        for i in range(1, self.depth + 1):
            x = F.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        return self.linear(x.mean((2, 3)))
