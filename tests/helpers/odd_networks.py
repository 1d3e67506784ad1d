"""A small real network with everything that is odd about real ones, for images of signs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OddNetwork(nn.Module):
    """The head is made first, a layer is used twice, one pads by reflection, one is not used."""

    def __init__(self, classes: int = 12) -> None:
        super().__init__()
        self.head = nn.Linear(16, classes)
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.twice = nn.Conv2d(16, 16, 1)
        self.mirrored = nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect")
        self.auxiliary = nn.Linear(16, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(images)))
        x = F.relu(self.twice(F.relu(self.twice(x))))
        return self.head(F.relu(self.mirrored(x)).mean((2, 3)))


def odd_network() -> OddNetwork:
    torch.manual_seed(0)
    return OddNetwork().eval()
