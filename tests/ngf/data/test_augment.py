"""Augmentation: what each kind does, to how much, and what it leaves alone."""

from __future__ import annotations

import hashlib

import pytest
import torch
import torch.nn.functional as F

from ngf.augmentations import AUGMENTATIONS
from ngf.data import augment as module
from ngf.data.augment import augment

PIXEL = 2 / 32  # in the units of a grid over 32 pixels


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(64, 3, 32, 32, generator=rng(1))


def test_augment_shifts_and_mirrors_only_what_may_be():
    images = torch.rand(200, 3, 8, 8)
    labels = torch.arange(200) % 2
    flips = torch.tensor([True, False])
    rng = torch.Generator().manual_seed(0)
    out = augment(images, labels, rng, shift=0, survives_flip=flips)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert bool(same[labels == 1].all())
    assert 20 < int(mirrored[labels == 0].sum()) < 80
    shifted = augment(images, labels, rng, shift=2)
    inner = {tuple(s.flatten().tolist()) for s in (images[0, :, 2:6, 2:6],)}
    windows = {
        tuple(shifted[0, :, r : r + 4, c : c + 4].flatten().tolist())
        for r in range(5)
        for c in range(5)
    }
    assert inner & windows


def test_weak_is_what_it_always_was(images):
    """Bytes written down when there was nothing but weak: trainings and old runs rest on them."""
    labels, flips = torch.arange(64) % 4, torch.tensor([True, False, True, True])
    generator = rng(7)
    out = augment(images, labels, generator, survives_flip=flips)
    digest = hashlib.sha256(out.contiguous().numpy().tobytes())
    digest.update(torch.rand(3, generator=generator).numpy().tobytes())  # as many were drawn
    assert digest.hexdigest()[:16] == WEAK


WEAK = "597c8ea3d5c9a7ba"


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 20, 44)])
@pytest.mark.parametrize("kind", list(AUGMENTATIONS))
def test_images_stay_images_and_a_seed_decides(kind, shape):
    images, labels = torch.rand(16, *shape, generator=rng(1)), torch.arange(16) % 2
    kept, flips = images.clone(), torch.tensor([True, False])
    once, twice, other = (
        augment(images, labels, rng(seed), survives_flip=flips, kind=kind) for seed in (0, 0, 1)
    )
    assert torch.equal(images, kept) and torch.equal(once, twice)
    assert not torch.equal(once, other)
    assert once.shape == images.shape and once.dtype == images.dtype
    assert once.min() >= 0 and once.max() <= 1
    assert (once != images).flatten(1).any(1).all()


def test_an_unknown_augmentation_lists_the_known_ones(images):
    with pytest.raises(ValueError, match="Unknown augmentation 'wild'. Allowed: weak, strong"):
        augment(images, torch.zeros(64).long(), rng(), kind="wild")


def test_strong_mirrors_only_classes_that_survive_it(monkeypatch):
    """With everything else turned off, an image is itself or its mirror image."""
    images, labels = torch.rand(400, 3, 8, 8, generator=rng(1)), torch.arange(400) % 2
    for name in ("_SHIFT", "_TURN", "_SCALE", "_WARP", "_BLURRED", "_GAIN", "_BIAS", "_NOISE"):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(module, "_CUT", 0.0)

    def near(a, b):
        return (a - b).abs().flatten(1).amax(1) < 1e-5

    flips = torch.tensor([True, False])
    out = augment(images, labels, rng(), survives_flip=flips, kind="strong")
    same, mirrored = near(out, images), near(out, images.flip(3))
    assert bool((same | mirrored).all()) and bool(same[labels == 1].all())
    assert 70 < int(mirrored[labels == 0].sum()) < 130
    assert bool(near(augment(images, labels, rng(), kind="strong"), images).all()), "None: never"


@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
def test_the_affine_part_shifts_turns_and_scales_within_its_limits(size):
    images = torch.zeros(4000, 1, *size)
    flips = torch.arange(4000) % 2 == 0
    grid = module.affine_grid(images, flips, rng())
    half = torch.tensor([size[1], size[0]]) / 2
    middle = (grid[:, size[0] // 2, size[1] // 2] + grid[:, size[0] // 2 - 1, size[1] // 2 - 1]) / 2
    moved = middle * half / torch.tensor([size[1], size[0]])  # of the sides
    assert moved.abs().max() <= 4 / 32 + 1e-5
    # uniform: variance (2 * 4/32)^2 / 12, none of them favored
    assert torch.allclose(moved.std(0), torch.full((2,), 8 / 32 / 12**0.5), rtol=0.05)
    assert moved.mean(0).abs().max() < 0.005
    mirror = torch.where(flips, -1.0, 1.0)[:, None]
    right = mirror * (grid[:, 0, 1] - grid[:, 0, 0]) * half  # one pixel to the right, in pixels
    down = (grid[:, 1, 0] - grid[:, 0, 0]) * half
    length, angle = right.norm(dim=1), torch.atan2(right[:, 1], right[:, 0]).rad2deg()
    assert 1 / 1.15 - 1e-4 <= length.min() < 0.89 and 1.12 < length.max() <= 1.15 + 1e-4
    assert -10 - 1e-3 <= angle.min() < -9.5 and 9.5 < angle.max() <= 10 + 1e-3
    # lengths and right angles stay
    assert torch.allclose(down.norm(dim=1), length, atol=1e-4)
    assert (right * down).sum(1).abs().max() < 1e-4


def test_the_warp_is_smooth_and_no_larger_than_it_says(images):
    field = module.elastic(images.repeat(4, 1, 1, 1), rng()) / PIXEL  # in pixels
    assert 2.0 < field.abs().max() <= 2.5
    steps = torch.cat([field.diff(dim=1).flatten(), field.diff(dim=2).flatten()]).abs()
    assert steps.max() < 1.0, "no fold: neighbors stay in order"
    sizes = field.abs().amax((1, 2, 3))
    assert sizes.min() < 0.5 * sizes.max(), "an amplitude of its own for each image"


def test_blur_is_between_an_image_and_its_binomial_mean(images):
    out = module.blur(images, rng())
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    smooth = F.conv2d(padded, (kernel[:, None] * kernel)[None, None]).view_as(images)
    untouched = (out == images).flatten(1).all(1)
    assert 16 < int(untouched.sum()) < 48
    extents = ((out - images) / (smooth - images))[~untouched].flatten(1)
    median = extents.median(1).values
    assert torch.allclose(
        out[~untouched],
        images[~untouched].lerp(smooth[~untouched], median[:, None, None, None]),
        atol=1e-5,
    )
    assert median.min() >= 0 and median.max() <= 1 and median.std() > 0.2


def test_tint_is_a_gain_and_a_bias_for_each_channel(images):
    out = module.tint(images, rng()).flatten(2)
    flat = images.flatten(2)
    gain = (out[..., 0] - out[..., 1]) / (flat[..., 0] - flat[..., 1])
    bias = out[..., 0] - gain * flat[..., 0]
    assert torch.allclose(out, gain[..., None] * flat + bias[..., None], atol=1e-4)
    assert 0.8 - 1e-3 <= gain.min() < 0.85 and 1.15 < gain.max() <= 1.2 + 1e-3
    assert 0.09 < bias.abs().max() <= 0.1 + 1e-3


def test_noise_has_a_strength_of_its_own_for_each_image(images):
    added = module.noise(images, rng()) - images
    size = added.flatten(1).std(1)
    assert size.min() < 0.01 and 0.05 < size.max() < 0.062
    scaled = added / size[:, None, None, None]
    assert abs(scaled.mean().item()) < 0.01
    assert abs(scaled.pow(4).mean().item() - 3) < 0.1, "Gaussian"


def test_cutout_hides_one_rectangle_in_one_color(images):
    many = images.repeat(4, 1, 1, 1)
    out = module.cutout(many, rng())
    changed = (out != many).any(1)
    hidden = changed.flatten(1).any(1)
    assert 100 < int(hidden.sum()) < 156  # half of 256
    colors = set()
    for image, mask in zip(out[hidden], changed[hidden], strict=True):
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)
        for line in (rows, columns):
            at = line.nonzero()[:, 0]
            assert len(at) == at[-1] - at[0] + 1 and 4 <= len(at) <= 8
        (color,) = {tuple(pixel.tolist()) for pixel in image[:, mask].T}
        colors.add(color)
    assert len(colors) == int(hidden.sum())
    share = changed[hidden].float().mean(0)
    assert share[13:19, 13:19].mean() > 2 * share[[0, 0, -1, -1], [0, -1, 0, -1]].mean()
