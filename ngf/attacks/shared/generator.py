"""What attacks with a generator share: a small U-Net, its weights as named tensors, and the
attacker who trains it.

The networks are tiny (about 20,000 weights at width 16), so that an attack is trained on two cores
in minutes, and have no BatchNorm, so that an image gets the same trigger alone, in any batch, in
training and afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.data.images import centered
from ngf.similarity import structural_similarity

_PIXELS_AT_ONCE = 2**18  # 256 images of 32x32; bounds the memory for large ones


class UNet(nn.Module):
    """Blocks of 2x2 pixels become channels, one more halving, and back, with the finer map added on
    the way up.

    float (N, in_channels, H, W) -> (N, out_channels, H, W), any real number; H and W are 4 or more.
    Image channels are expected in [0, 1]. Widths w and 2w. Working on blocks loses no pixel and
    takes a third of the time of a U-Net of as many weights that starts on pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int = 16) -> None:
        super().__init__()
        self.enter = _conv(4 * in_channels, width)
        self.down = _conv(width, 2 * width)
        self.middle = _conv(2 * width, 2 * width)
        self.narrow = _conv(2 * width, width, 1)
        self.up = _conv(width, width)
        self.leave = nn.Conv2d(width, 4 * out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        even = F.pad(centered(x), (0, width % 2, 0, height % 2), mode="replicate")
        fine = _active(self.enter(F.pixel_unshuffle(even, 2)))
        coarse = _active(self.middle(_active(self.down(F.avg_pool2d(fine, 2)))))
        # Nearest, because the gradient of bilinear enlargement is not reproducible on a GPU.
        back = F.interpolate(self.narrow(coarse), fine.shape[2:], mode="nearest")
        return F.pixel_shuffle(self.leave(_active(self.up(fine + back))), 2)[:, :, :height, :width]


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


def _conv(in_channels: int, out_channels: int, size: int = 3) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2)
    nn.init.kaiming_normal_(conv.weight, a=0.1)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def packed(networks: nn.Module) -> dict[str, Tensor]:
    """Copies of all weights, by name, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in networks.state_dict().items()}


def unpacked(trigger: Mapping[str, Tensor], name: str, images: Tensor) -> UNet:
    """The U-Net that was packed under `name`, for the dtype and device of `images`; its sizes
    come from the weights.
    """
    # Copies, as the order of sums may depend on where in memory a weight begins, and in a mapped
    # file that is anywhere.
    weights = {
        key.removeprefix(f"{name}."): value.to(images, copy=True)
        for key, value in trigger.items()
        if key.startswith(f"{name}.")
    }
    width, blocks = weights["enter.weight"].shape[:2]
    with torch.device(
        "meta"
    ):  # so that no random number is drawn: `apply` leaves the generators alone
        network = UNet(blocks // 4, len(weights["leave.weight"]) // 4, width)
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(False).eval()


def in_parts(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`function` of the images, as many at once as memory likes, without gradients."""
    count = max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
    with torch.no_grad():
        return torch.cat([function(part) for part in images.split(count)])


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of two batches in [0, 1], with a flat window of 7x7 pixels."""
    return structural_similarity(a, b, side=7, sigma=None).mean()


def own_share(images: Tensor, triggered: Tensor) -> float:
    """The share of a trigger's energy that is not one pattern on all images: with the change
    r = triggered - images of each, 1 - |mean r|^2 / mean |r|^2, in [0, 1]; 0 where nothing changed.

    images, triggered: float (N, C, H, W).
    """
    change = (triggered - images).double()
    energy = change.square().mean(0).sum().item()
    return 1 - change.mean(0).square().sum().item() / energy if energy else 0.0


class GeneratorAttacker:
    """The attacker inside the training loop (see `ngf.training.attacker.InLoopAttacker`), without
    the loss.

    networks: all that is kept.
    trained: those of its weights that Adam moves by the gradients of the loss.
    progress: the share of the training that is over.
    """

    def __init__(self, networks: nn.Module, trained: list[nn.Parameter], lr: float) -> None:
        self.networks = networks
        self.optimizer = torch.optim.Adam(trained, lr=lr, betas=(0.5, 0.9))
        self.progress = 0.0

    def step(self, progress: float) -> None:
        self.optimizer.step()  # leaves weights without a gradient alone
        # Public code of input-aware attacks forgets this and sums the gradients of all steps.
        self.optimizer.zero_grad(set_to_none=True)
        self.progress = progress

    def trigger(self) -> dict[str, Tensor]:
        return packed(self.networks)

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = state["progress"]
