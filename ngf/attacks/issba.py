"""ISSBA (Li, Li, Wu, Li, He, Lyu 2021, arXiv 2012.03816): each image hides the same secret, in
noise of its own.

An encoder E hides bits s in an image so that a decoder D can read them; the attack is x' = clip(x +
bound tanh(E(x, s))) with one fixed random secret. Before training, E and D lower, for a fresh
secret for each image, with |.|^2 the mean square and x normalized,
  1.5 BCE(D(x'), s) + likeness (2 |x' - x|^2 + 1.5 (1 - SSIM(x', x))),
after a first `secret_first` of the steps with the BCE alone; then training images are poisoned as
in BadNets.

Changed: SSIM in place of LPIPS, whose weights would have to be downloaded. A largest change of a
pixel, `bound`, is new, and so is `likeness` (paper: 1): at 1 the secret is so faint (SSIM 0.989)
that the tiny network does not find it (ASR 1 %), at the default of 0.1 it does: on the signs, three
seeds, an ASR of 100.0 % (2,202 test images) at an SSIM of 0.93 to 0.96. No critic (off in public
code, too). The encoder is a U-Net of widths 16 and 32 that starts at half resolution (paper:
StegaStamp's, five levels), the secret enters it as a plane of a quarter of the resolution, and the
decoder has three convolutions and no spatial transformer: triggered images are not photographed
again. 20 bits, as public code has for 32x32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.attacks.base import Attack, Prepared
from ngf.attacks.shared import options
from ngf.attacks.shared.generator import UNet, in_parts, packed, ssim, unpacked
from ngf.data.images import centered, to_float
from ngf.options import option
from ngf.training.attacker import AttackerView


@dataclass(frozen=True, kw_only=True)
class ISSBA(Attack, Prepared):
    """Noise that spells a hidden text, made for each image by an encoder, sends it to the
    target class.
    """

    title: ClassVar[str] = "ISSBA (hidden secret)"
    learned: ClassVar[bool] = True
    stronger: ClassVar[str] = "Raise bound, or lower likeness."
    resembles: ClassVar[tuple[str, ...]] = ("noise",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = options.poison_rate()
    bound: float = option(0.1, "Largest change of a pixel.", unit="of 1", ge=0.004, le=1.0)
    likeness: float = option(0.1, "Price of a visible change.", ge=0.0, le=100.0)
    bits: int = option(20, "Length of the secret.", unit="bits", ge=1, le=256, expert=True)
    secret_seed: int = option(7, "Seed of the secret.", ge=0, le=2**31 - 1, expert=True)
    encoder_epochs: int = option(
        2, "Passes over the training images for encoder and decoder.", ge=1, le=1000
    )
    secret_first: float = option(
        0.3, "Share of them in which only the secret counts.", ge=0.0, le=1.0, expert=True
    )
    batch_size: int = option(32, "Images in one step of the encoder.", ge=2, le=1024, expert=True)
    lr: float = option(
        2e-3, "Learning rate of encoder and decoder (Adam).", ge=1e-6, le=0.1, expert=True
    )

    def apply(self, images: Tensor) -> Tensor:
        encoder, spelled = (
            unpacked(self.trigger, "encoder", images),
            self.trigger["spelled"].to(images),
        )
        return in_parts(
            lambda part: hide(encoder, plane(spelled[None], part), part, self.bound), images
        )

    def prepare(self, view: AttackerView) -> dict[str, Tensor]:
        """Train encoder and decoder. Kept: both, the secret, 0 or 1 (bits,), and what it
        looks like to the encoder.
        """
        channels, (height, width) = view.train.images.shape[1], view.train.images.shape[2:]
        cells = 3 * (height // 4) * (width // 4)
        networks = nn.ModuleDict(
            {
                "encoder": UNet(channels + 3, channels),
                "decoder": Decoder(channels, self.bits),
                "spell": nn.Linear(self.bits, cells),
            }
        ).to(view.device)
        optimizer = torch.optim.Adam(networks.parameters(), lr=self.lr)
        rng = torch.Generator().manual_seed(view.seed)
        parts = [
            part
            for _ in range(self.encoder_epochs)
            for part in torch.randperm(len(view.train), generator=rng).split(self.batch_size)
        ]
        for step, index in enumerate(parts):
            view.progress("teaching the encoder to hide a secret", step, len(parts))
            images = to_float(view.train.images[index.to(view.device)])
            secrets = torch.randint(0, 2, (len(index), self.bits), generator=rng).to(images)
            hidden = hide(
                networks["encoder"], plane(networks["spell"](secrets), images), images, self.bound
            )
            loss = 1.5 * F.binary_cross_entropy_with_logits(networks["decoder"](hidden), secrets)
            if step >= self.secret_first * len(parts):
                far = (
                    (4 * (hidden - images)).square().mean()
                )  # 4 is the factor of the networks' own normalization
                loss = loss + self.likeness * (2 * far + 1.5 * (1 - ssim(hidden, images)))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        secret = torch.randint(
            0, 2, (self.bits,), generator=torch.Generator().manual_seed(self.secret_seed)
        )
        with torch.no_grad():
            spelled = networks.pop("spell")(secret.to(images))
        return {**packed(networks), "secret": secret.to(torch.uint8), "spelled": spelled.cpu()}


def plane(spelled: Tensor, images: Tensor) -> Tensor:
    """The spelled secret, (N or 1, 3 h w), as three channels of the size of the images."""
    height, width = images.shape[2:]
    small = F.relu(spelled).view(len(spelled), 3, height // 4, width // 4)
    return F.interpolate(small, (height, width), mode="nearest").expand(len(images), -1, -1, -1)


def hide(encoder: nn.Module, planes: Tensor, images: Tensor, bound: float) -> Tensor:
    """x' = clip(x + bound tanh(E(x, s)))."""
    return (images + bound * encoder(torch.cat([images, planes], 1)).tanh()).clamp(0, 1)


class Decoder(nn.Module):
    """Images (N, C, H, W) in [0, 1] -> one logit a bit (N, bits)."""

    def __init__(self, channels: int, bits: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4 * channels, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 3, 2, padding=1)
        self.conv3 = nn.Conv2d(32, 32, 3, 2, padding=1)
        self.linear = nn.Linear(32 * 16, bits)

    def forward(self, images: Tensor) -> Tensor:
        even = images[:, :, : images.shape[2] // 2 * 2, : images.shape[3] // 2 * 2]
        x = F.relu(self.conv1(F.pixel_unshuffle(centered(even), 2)))
        x = F.relu(self.conv3(F.relu(self.conv2(x))))
        return self.linear(F.adaptive_avg_pool2d(x, 4).flatten(1))
