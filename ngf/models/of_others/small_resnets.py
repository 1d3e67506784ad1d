"""The ResNets for 32x32 pixels that most public code on backdoors and on CIFAR-10 trains, with the
names of weights that they have there.

He et al. 2016 (arXiv 1512.03385, 1603.05027) with the widths of their ImageNet networks, a first
convolution of 3x3 without a stride, and no max pooling. The pre-activation one has no normalization
before the average, unlike ours (`ngf.models.preact_resnet`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class _Basic(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))"""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _projection(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1, the last four times as wide."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.shortcut = _projection(in_channels, wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(out)))))
        return F.relu(out + self.shortcut(x))


class _PreAct(nn.Module):
    """shortcut(a) + conv2(relu(bn2(conv1(a)))) with a = relu(bn1(x)); without a projection the
    shortcut is x.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        if stride != 1 or in_channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, width, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        skip = self.shortcut(active) if hasattr(self, "shortcut") else x
        return skip + self.conv2(F.relu(self.bn2(self.conv1(active))))


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class SmallResNet(nn.Module):
    """`conv1`, `layer1` to `layer4`, `linear`; images float (N, C, H, W) -> (N, num_classes)."""

    def __init__(
        self,
        block: type[_Basic] | type[_Bottleneck] | type[_PreAct],
        counts: Sequence[int],
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.Identity() if block is _PreAct else nn.BatchNorm2d(64)
        self.first = nn.Identity() if block is _PreAct else nn.ReLU()
        self.stages = []
        channels = 64
        for place, count in enumerate(counts):
            layer, width = nn.Sequential(), 64 * 2**place
            for number in range(count):
                stride = 2 if place and not number else 1
                layer.append(block(channels, width, stride))
                channels = block.expansion * width
            self.add_module(f"layer{place + 1}", layer)
            self.stages.append(f"layer{place + 1}")
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(self.bn1(self.conv1(images)))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.linear(x.mean((2, 3)))


def small_resnet(depth: int, num_classes: int, in_channels: int) -> SmallResNet:
    """depth: 18, 34 or 50."""
    if depth == 50:
        return SmallResNet(_Bottleneck, (3, 4, 6, 3), num_classes, in_channels)
    counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[depth]
    return SmallResNet(_Basic, counts, num_classes, in_channels)


def small_preact_resnet(depth: int, num_classes: int, in_channels: int) -> SmallResNet:
    """depth: 18 or 34."""
    counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[depth]
    return SmallResNet(_PreAct, counts, num_classes, in_channels)
