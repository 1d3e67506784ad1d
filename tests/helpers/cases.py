"""Tiny float64 problems for tests of curvature: networks with BatchNorm, images, labels.

Built from plain torch.nn, so that a test of the mathematics does not depend on the networks of the
project.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

NUM_CLASSES = 4
Problem = tuple[nn.Module, Tensor, Tensor]


def conv_net(seed: int = 0, num_images: int = 11) -> Problem:
    """A convolutional network with BatchNorm in two places (about 600 parameters), 8x8 images."""
    torch.manual_seed(seed)
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(3, 6, 3, 2, padding=1))
    net.add_module("bn1", nn.BatchNorm2d(6))
    net.add_module("relu1", nn.ReLU())
    net.add_module("conv2", nn.Conv2d(6, 6, 3, padding=1, bias=False))
    net.add_module("bn2", nn.BatchNorm2d(6))
    net.add_module("relu2", nn.ReLU())
    net.add_module("pool", nn.AdaptiveAvgPool2d(2))
    net.add_module("flat", nn.Flatten())
    net.add_module("linear", nn.Linear(24, NUM_CLASSES))
    return _problem(net, num_images)


def residual_net(seed: int = 1, num_images: int = 9) -> Problem:
    """One residual block, in-place ReLU, a parameter that the output does not depend on."""
    torch.manual_seed(seed)
    return _problem(_Residual(), num_images)


def no_batch_norm(seed: int = 2, num_images: int = 10) -> Problem:
    """A multilayer perceptron without BatchNorm."""
    torch.manual_seed(seed)
    return _problem(
        nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Tanh(), nn.Linear(5, NUM_CLASSES)),
        num_images,
    )


def one_layer(seed: int = 3, num_images: int = 10) -> Problem:
    """A single linear layer: its Hessian, Gauss-Newton and Fisher matrices are one."""
    torch.manual_seed(seed)
    return _problem(
        nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(12, NUM_CLASSES)), num_images
    )


CASES: dict[str, Callable[[], Problem]] = {
    "conv_net": conv_net,
    "residual_net": residual_net,
    "no_batch_norm": no_batch_norm,
    "one_layer": one_layer,
}


def purified(net: nn.Module, seed: int = 7) -> nn.Module:
    """A second model of the same architecture, some way off, with other running statistics."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator, dtype=value.dtype)
            value = value * (0.8 + 0.4 * noise)
        state[name] = value
    other = copy.deepcopy(net)
    other.load_state_dict(state)
    return other


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.unused = nn.Parameter(torch.ones(3))
        self.linear = nn.Linear(4, NUM_CLASSES)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = x + self.conv(self.relu(self.bn(x)))
        return self.linear(self.relu(x).mean((2, 3)))


def _problem(net: nn.Module, num_images: int) -> Problem:
    net = net.double()
    images = torch.rand(num_images, 3, 8, 8, dtype=torch.float64)
    labels = torch.randint(0, NUM_CLASSES, (num_images,))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "bn" in name:  # scales and shifts away from 1 and 0
                parameter.add_(0.3 * torch.randn_like(parameter))
        net.train()
        for _ in range(3):
            net(images + 0.1 * torch.randn_like(images))  # running statistics away from 0 and 1
    return net, images, labels
