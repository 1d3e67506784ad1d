"""A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), every weight of it in a
plain layer.

As in Beyer et al. 2022 (arXiv 2205.01580) positions are fixed sines and cosines, and the tokens are
averaged instead of read from a class token; so all parameters are those of linear layers and
LayerNorms. Changed: queries, keys and values are three linear layers, for torch's own attention
keeps the three in one bare parameter, which is no layer to tune. They have no bias (that of the
keys would change nothing). Attention is written out, since torch's fused kernels have no second
derivative, which measurements of curvature need.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.models.preact_resnet import Normalize


class Block(nn.Module):
    """x + attention(norm1(x)), then x + down(gelu(up(norm2(x)))); on tokens (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, math.sqrt(width // heads)
        self.norm1 = nn.LayerNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm1(x)
        q, k, v = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        attention = (q @ k.mT / self.scale).softmax(-1)  # (N, heads, T, T)
        x = x + self.out((attention @ v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """Patches of 4x4 pixels (8x8 from 64 pixels on, 16x16 from 128 on), pre-norm blocks, mean over
    tokens.

    Layers are named `embed`, `block<i>.norm1|q|k|v|out|norm2|up|down`, `norm`, `linear`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int = 32,
        *,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.patch = 4 if image_size < 64 else 8 if image_size < 128 else 16
        self.padding = (0, -image_size % self.patch, 0, -image_size % self.patch)
        self.embed = nn.Linear(in_channels * self.patch**2, width)
        self.register_buffer(
            "positions", _positions(-(-image_size // self.patch), width), persistent=False
        )
        self.blocks = [f"block{i}" for i in range(1, depth + 1)]
        for name in self.blocks:
            self.add_module(name, Block(width, heads))
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """images: float (N, C, H, W) in [0, 1] -> logits (N, num_classes)."""
        padded = F.pad(self.normalize(images), self.padding)
        x = self.embed(F.unfold(padded, self.patch, stride=self.patch).mT) + self.positions
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.linear(self.norm(x).mean(1))


def _positions(side: int, width: int) -> Tensor:
    """Sines and cosines of rows and columns at falling frequencies: (side * side, width)."""
    rates = 10_000 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], 1)  # (side, width / 2)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)
