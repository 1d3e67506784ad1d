"""ISSBA (Li, Li, Wu, Li, He, Lyu 2021, arXiv 2012.03816): each image hides the same secret, in
noise of its own.

An encoder E hides bits s in an image so that a decoder D can read them; the attack is x' = clip(x +
bound tanh(E(x, s))) with one fixed random secret. Before training, E and D lower, for a fresh
secret for each image, with |.|^2 the mean square and x normalized,
  1.5 BCE(D(x'), s) + foreign BCE(D(clip(x_j + x' - x)), 1/2)
  + likeness (2 |x' - x|^2 + 1.5 (1 - SSIM(x', x))),
where x_j is another image of the batch, after a first `secret_first` of the steps without the term
of likeness. Then training images are poisoned as in BadNets, and `cover_rate` of them get the noise
of another image and keep their label.

Changed: the second term and the cover images are new. The paper says that its noise is of no use on
another image; without them ours was one pattern, 95 % of its energy on all images alike, and opened
the backdoor from another image in 99.5 to 100 % of cases. SSIM in place of LPIPS, whose weights
would have to be downloaded. A largest change of a pixel, `bound`, is new, and so is `likeness`
(paper: 1): at 1 the secret is so faint that the tiny network does not find it. No critic (off in
public code, too). The encoder is a U-Net of widths 16 and 32 that starts at half resolution (paper:
StegaStamp's, five levels), the secret enters it as a plane of a quarter of the resolution, and the
decoder has three convolutions and no spatial transformer: triggered images are not photographed
again. 20 bits, as public code has for 32x32.

Measured on the signs, three seeds, 2,202 test images: CA 99.0 to 99.3 %, ASR 93.1 to 97.0 %; with
another image's noise 3.0 to 6.2 % go to the target, with the mean noise 2.3 to 4.5 %. Of the noise
54 to 59 % is the image's own; the secret is read in 99.1 to 99.8 % of its bits, from another
image's noise in 50 to 62 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.attacks.base import Attack, Covered, Prepared, ring
from ngf.attacks.shared import options
from ngf.attacks.shared.generator import UNet, in_parts, own_share, packed, ssim, unpacked
from ngf.data.images import centered, to_bytes, to_float
from ngf.options import SpecError, option
from ngf.training.attacker import AttackerView


@dataclass(frozen=True, kw_only=True)
class ISSBA(Attack, Prepared, Covered):
    """Noise that spells a hidden text, made by an encoder for each image and of no use on
    another one, sends it to the target class.
    """

    title: ClassVar[str] = "ISSBA (hidden secret)"
    learned: ClassVar[bool] = True
    stronger: ClassVar[str] = "Raise bound, or lower likeness."
    change_opens: ClassVar[bool | None] = False
    # option -> what its default was in specifications of an earlier revision (see `ngf.config`)
    former: ClassVar[Mapping[str, Any]] = {
        "cover_rate": 0.0,
        "likeness": 0.1,
        "foreign": 0.0,
    }
    resembles: ClassVar[tuple[str, ...]] = ("noise",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = options.poison_rate()
    cover_rate: float = option(
        0.2, "Share that gets the noise of another image and keeps its label.", ge=0.0, le=0.9
    )
    bound: float = option(0.1, "Largest change of a pixel.", unit="of 1", ge=0.004, le=1.0)
    likeness: float = option(0.2, "Price of a visible change.", ge=0.0, le=100.0)
    foreign: float = option(
        1.0, "Price of a secret that can be read from another image's noise.", ge=0.0, le=100.0
    )
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

    def cover(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Each image with the noise of another one of them."""
        if len(images) < 2:
            raise SpecError(
                f"A cover rate of {self.cover_rate:g} gives {len(images)} cover image, which needs "
                "the noise of another one. Choose a rate that gives 2 or more, or 0."
            )
        return exchanged(images, self.apply(images), rng)

    def decoder(self, images: Tensor) -> Decoder:
        """The decoder that was kept, for the dtype and device of `images`."""
        weights = {
            key.removeprefix("decoder."): value.to(images, copy=True)
            for key, value in self.trigger.items()
            if key.startswith("decoder.")
        }
        with torch.device("meta"):  # so that no random number is drawn
            decoder = Decoder(weights["conv1.weight"].shape[1] // 4, len(weights["linear.bias"]))
        decoder.load_state_dict(weights, assign=True)
        return decoder.requires_grad_(False).eval()

    def read(self, images: Tensor) -> Tensor:
        """The bits that the decoder reads, whatever was hidden: bool (N, bits)."""
        return in_parts(self.decoder(images), images) > 0

    def figures(self, images: Tensor) -> dict[str, float]:
        """The image's own share of the noise, and the bits that are read right, half of them by
        chance: from the image itself and from one with another image's noise.
        """
        triggered = self.apply(images)
        foreign = exchanged(images, triggered, torch.Generator().manual_seed(0))
        secret = self.trigger["secret"].to(images.device).bool()

        def right(shown: Tensor) -> float:
            seen = to_float(to_bytes(shown)).to(images)  # the 8 bits that a model is shown
            return (self.read(seen) == secret).double().mean().item()

        return {
            "share of the noise that is the image's own": own_share(images, triggered),
            "bits read": right(triggered),
            "bits read from another image's noise": right(foreign),
        }

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
            loss = self.reading_loss(networks["decoder"], images, hidden, secrets)
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

    def reading_loss(
        self, decoder: nn.Module, images: Tensor, hidden: Tensor, secrets: Tensor
    ) -> Tensor:
        """1.5 BCE(D(x'), s) + foreign BCE(D(x_j + x' - x), 1/2), j the next image of the batch."""
        count = len(images)
        if not self.foreign or count < 2:
            return 1.5 * F.binary_cross_entropy_with_logits(decoder(hidden), secrets)
        others = (images + (hidden - images).roll(1, 0)).clamp(0, 1)
        own, foreign = decoder(torch.cat([hidden, others])).split(count)
        unread = F.binary_cross_entropy_with_logits(foreign, torch.full_like(foreign, 0.5))
        return 1.5 * F.binary_cross_entropy_with_logits(own, secrets) + self.foreign * unread


def plane(spelled: Tensor, images: Tensor) -> Tensor:
    """The spelled secret, (N or 1, 3 h w), as three channels of the size of the images."""
    height, width = images.shape[2:]
    small = F.relu(spelled).view(len(spelled), 3, height // 4, width // 4)
    return F.interpolate(small, (height, width), mode="nearest").expand(len(images), -1, -1, -1)


def hide(encoder: nn.Module, planes: Tensor, images: Tensor, bound: float) -> Tensor:
    """x' = clip(x + bound tanh(E(x, s)))."""
    return (images + bound * encoder(torch.cat([images, planes], 1)).tanh()).clamp(0, 1)


def exchanged(images: Tensor, triggered: Tensor, rng: torch.Generator) -> Tensor:
    """Each image with the change that the trigger makes in another one, clipped."""
    change = triggered - images
    return (images + change[ring(len(images), rng).to(images.device)]).clamp(0, 1)


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
