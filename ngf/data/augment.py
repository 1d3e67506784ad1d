"""Augmentation of whole batches on the device: weak, a random shift and a mirror image where the
class survives it, or strong, which adds what `ngf.augmentations` lists.

Strong is what a defender does who wants a network to keep only what all views of an object share.
Its parts are standard: elastic distortion (Simard, Steinkraus, Platt 2003), cutout (DeVries, Taylor
2017, arXiv 1708.04552), here filled with a random color, and affine maps, color, noise and blur as
in RandAugment (Cubuk et al. 2020, arXiv 1909.13719). Shift, warp and cutout are measured in
fractions of the image's sides, so that larger images are changed as much to the eye.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

# The strong kinds at 32x32 pixels as `ngf.augmentations.KINDS` says them. How much of tint and
# cutout was set by clean accuracy alone, on the BadNets model of seed 0 (SGD, all layers, rate 0.1,
# 100 steps): gains of 0.7 to 1.3, biases of 0.15 and rectangles of up to 12 pixels over three in
# four images cost 8 points (800 test images), what is here 1.2 (1,000 validation images). What
# removes most was not searched for: that would have been judged by the attacks then counted.
_SHIFT = 4 / 32  # of a side
_TURN, _SCALE = math.radians(10), math.log(1.15)
_WARP, _CELLS = 2.5 / 32, 5  # of a side; control points along each side
_BLURRED = 0.5  # of the images
_GAIN, _BIAS, _NOISE = 0.2, 0.1, 0.06
_CUT, _CUT_SIDES = 0.5, (4 / 32, 8 / 32)  # of the images; of a side


def augment(
    images: Tensor,
    labels: Tensor,
    rng: Generator,
    *,
    shift: int = 2,
    survives_flip: Tensor | None = None,
    kind: str = "weak",
) -> Tensor:
    """The images as another look at the same objects.

    Weak shifts each by up to `shift` pixels (edges repeated) and mirrors half of those that may be;
    strong does all of `ngf.augmentations.KINDS` and takes no `shift`.

    images: float (N, C, H, W) in [0, 1], never changed; strong gives the same range.
    labels: int64 (N,).
    rng: on the CPU, so that the random numbers are the same on every device.
    survives_flip: bool (num_classes,), or None for never.
    kind: weak or strong.
    """
    if kind == "strong":
        return _strong(images, labels, rng, survives_flip)
    if kind != "weak":
        raise ValueError(f"Unknown augmentation {kind!r}. Allowed: weak, strong.")
    moves, flips = draw_weak(len(images), rng, shift)
    return weak(images, labels, moves, flips, shift=shift, survives_flip=survives_flip)


def draw_weak(count: int, rng: Generator, shift: int = 2) -> tuple[Tensor, Tensor]:
    """The random numbers of the weak augmentation of `count` images: how far each is shifted,
    int64 (2, count) from 0 to 2 `shift`, and which are mirrored if they may be, bool (count,).
    """
    moves = torch.randint(0, 2 * shift + 1, (2, count), generator=rng)
    return moves, torch.rand(count, generator=rng) < 0.5


def weak(
    images: Tensor,
    labels: Tensor,
    moves: Tensor,
    flips: Tensor,
    *,
    shift: int = 2,
    survives_flip: Tensor | None = None,
) -> Tensor:
    """The weak augmentation by random numbers that were drawn before; see `augment`, `draw_weak`.

    Apart from the drawing, so that who holds a part of a batch takes its part of the numbers.
    """
    count, _, height, width = images.shape
    device = images.device
    moves, flips = moves.to(device), flips.to(device)
    padded = F.pad(images, (shift,) * 4, mode="replicate")
    rows = moves[0, :, None] + torch.arange(height, device=device)
    columns = moves[1, :, None] + torch.arange(width, device=device)
    if survives_flip is not None:
        flips = flips & survives_flip.to(device)[labels]
        columns = torch.where(flips[:, None], columns.flip(1), columns)
    index = torch.arange(count, device=device)[:, None, None]
    # Advanced indices around the channel slice put the channels last.
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _strong(images: Tensor, labels: Tensor, rng: Generator, survives_flip: Tensor | None) -> Tensor:
    """The geometry first, then what a camera does, then what stands in the way."""
    flips = _uniform(rng, images, len(images)) < 0
    if survives_flip is None:
        flips = torch.zeros_like(flips)
    else:
        flips &= survives_flip.to(images.device)[labels]
    grid = affine_grid(images, flips, rng)
    grid += elastic(images, rng)
    out = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return cutout(noise(tint(blur(out, rng), rng), rng).clamp_(0, 1), rng)


def _uniform(rng: Generator, like: Tensor, *shape: int) -> Tensor:
    """Uniform in [-1, 1), drawn on the CPU, where `like` is."""
    return torch.rand(shape, generator=rng).mul_(2).sub_(1).to(like)


def affine_grid(images: Tensor, flips: Tensor, rng: Generator) -> Tensor:
    """Where each pixel is looked up: shifted, turned, scaled, mirrored where `flips`.

    flips: bool (N,) -> (N, H, W, 2), from -1 to 1 over the image as in `F.grid_sample`.
    """
    count, _, height, width = images.shape
    right, down, turn, scale = _uniform(rng, images, 4, count)
    size, angle = (_SCALE * scale).exp(), _TURN * turn
    cosine, sine = size * angle.cos(), size * angle.sin()
    mirror = 1 - 2 * flips.to(images)
    # In pixels a turn is a turn; the grid's unit is half a side, which differs between the sides.
    sides = width / height
    matrix = torch.stack(
        [mirror * cosine, -sine / sides, 2 * _SHIFT * right]
        + [mirror * sine * sides, cosine, 2 * _SHIFT * down],
        dim=1,
    ).view(count, 2, 3)
    return F.affine_grid(matrix, list(images.shape), align_corners=False)


def elastic(images: Tensor, rng: Generator) -> Tensor:
    """A smooth displacement for each image, an amplitude of its own each: (N, H, W, 2), in units of
    the grid of `F.grid_sample`; nowhere more than 2.5 of 32 pixels along an axis.
    """
    count, _, height, width = images.shape
    control = _uniform(rng, images, count, 2, _CELLS, _CELLS)
    amplitude = (1 + _uniform(rng, images, count, 1, 1, 1)) * _WARP  # 2 units are a side
    down, right = (_bicubic(size).to(images) for size in (height, width))
    field = (down @ control @ right.T).clamp_(-1, 1)  # bicubic interpolation may overshoot
    return field.mul_(amplitude).permute(0, 2, 3, 1)


@functools.cache
def _bicubic(size: int) -> Tensor:
    """The matrix (size, _CELLS) that enlarges control points to so many pixels."""
    points = torch.eye(_CELLS)[None, :, None]  # one point up in each channel
    return F.interpolate(points, (1, size), mode="bicubic", align_corners=True)[0, :, 0].T


def blur(images: Tensor, rng: Generator) -> Tensor:
    """Between an image and its blur by the binomial kernel (1, 2, 1) / 4 along both axes."""
    chance, extent = _uniform(rng, images, 2, len(images), 1, 1, 1)
    chosen = (chance < 2 * _BLURRED - 1).flatten()
    out, extent = images.clone(), (0.5 + 0.5 * extent[chosen])
    picked = images[chosen]
    padded = F.pad(picked, (1, 1, 1, 1), mode="replicate")
    lines = padded[:, :, :-2] + padded[:, :, 2:] + 2 * padded[:, :, 1:-1]
    smooth = (lines[..., :-2] + lines[..., 2:] + 2 * lines[..., 1:-1]) / 16
    out[chosen] = picked.lerp(smooth, extent)
    return out


def tint(images: Tensor, rng: Generator) -> Tensor:
    """A gain and a bias for each channel of each image; may leave [0, 1]."""
    gain, bias = _uniform(rng, images, 2, *images.shape[:2], 1, 1)
    return images * (1 + _GAIN * gain) + _BIAS * bias


def noise(images: Tensor, rng: Generator) -> Tensor:
    """Gaussian noise, of a strength of its own for each image; may leave [0, 1]."""
    size = 0.5 * _NOISE * (1 + _uniform(rng, images, len(images), 1, 1, 1))
    return images + size * torch.randn(images.shape, generator=rng).to(images)


def cutout(images: Tensor, rng: Generator) -> Tensor:
    """A rectangle in one color over half of the images; all of it lies inside the image."""
    count, channels, height, width = images.shape
    chance, *place = 0.5 + 0.5 * _uniform(rng, images, 5, count)
    color = 0.5 + 0.5 * _uniform(rng, images, count, channels, 1, 1)
    rows, columns = (
        _between(first, extent, size)
        for first, extent, size in ((*place[:2], height), (*place[2:], width))
    )
    hidden = rows[:, :, None] & columns[:, None, :] & (chance < _CUT)[:, None, None]
    return torch.where(hidden[:, None], color, images)


def _between(first: Tensor, extent: Tensor, size: int) -> Tensor:
    """bool (N, size): which pixels a stretch of random place and length covers.

    first, extent: in [0, 1), where in its room it begins and how long it is.
    """
    least, most = (max(1, round(side * size)) for side in _CUT_SIDES)
    length = (least + extent * (most - least + 1)).floor()
    begin = (first * (size - length + 1)).floor()
    at = torch.arange(size, device=first.device)
    return (at >= begin[:, None]) & (at < (begin + length)[:, None])
