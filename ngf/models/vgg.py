"""VGG-19 with BatchNorm (Simonyan, Zisserman 2015, arXiv 1409.1556).

Changed, as is usual for images of 32x32: the features are averaged over positions and go into one
linear layer, in place of three whose first alone has 103 million weights. K-FAC would need the
eigenvectors of a 25,089 x 25,089 matrix for that one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ngf.models.preact_resnet import Normalize

_STAGES = (
    (64, 2),
    (128, 2),
    (256, 4),
    (512, 4),
    (512, 4),
)  # channels, convolutions; pooling after each


class VGG19(nn.Module):
    """Sixteen 3x3 convolutions with BatchNorm and ReLU, max pooling after the 2nd, 4th, 8th, 12th
    and 16th.

    Layers are named `conv1` to `conv16` and `linear`. Where an image is smaller than 32 pixels, the
    last poolings are left out.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int = 32) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.pooled, self.depth = [], 0
        channels = in_channels
        for stage, (width, count) in enumerate(_STAGES, start=1):
            for _ in range(count):
                self.depth += 1
                convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                self.add_module(f"conv{self.depth}", convolution)
                self.add_module(f"bn{self.depth}", nn.BatchNorm2d(width))
                channels = width
            if image_size >= 2**stage:
                self.pooled.append(self.depth)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """images: float (N, C, H, W) in [0, 1] -> logits (N, num_classes)."""
        x = self.normalize(images)
        for i in range(1, self.depth + 1):
            x = F.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
            if i in self.pooled:
                x = F.max_pool2d(x, 2)
        return self.linear(x.mean((2, 3)))
