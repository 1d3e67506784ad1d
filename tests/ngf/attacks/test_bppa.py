"""BPPA: levels of color, dithering, and images with the residual of another one."""

import pytest
import torch

from ngf.options import SpecError
from tests.helpers.attack_view import attack, rng, shown


def test_bppa_leaves_so_many_levels(images):
    made = attack("bppa", levels=5).apply(images.double())
    assert made.unique().tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-12)
    assert (made - images).abs().max() <= 0.125 + 1e-6  # half a level


@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (1, 1, 3, 8), (2, 3, 1, 1)])
def test_bppa_dithers_like_the_loop_over_pixels(shape):
    x = torch.rand(shape, generator=rng(), dtype=torch.float64)
    made, work = attack("bppa", levels=3, dither=True).apply(x), x.clone()
    for i in range(shape[2]):
        for j in range(shape[3]):
            old = work[:, :, i, j].clone()
            work[:, :, i, j] = ((old * 2).round() / 2).clamp(0, 1)
            for down, right, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if i + down < shape[2] and 0 <= j + right < shape[3]:
                    work[:, :, i + down, j + right] += (old - work[:, :, i, j]) * share / 16
    assert torch.allclose(made, work, atol=1e-12)


def test_bppa_negatives_carry_the_residual_of_another_image():
    made = attack("bppa", levels=4)
    images = 0.5 + 0.1 * torch.rand(
        6, 3, 8, 8, generator=rng(), dtype=torch.float64
    )  # nothing is clipped
    added = made.cover(images, torch.zeros(6, dtype=torch.int64), rng()) - images
    residual = made.apply(images) - images
    whose = torch.cdist(added.flatten(1), residual.flatten(1)).argmin(1)
    assert torch.allclose(added, residual[whose])
    assert sorted(whose.tolist()) == list(range(6)) and not bool((whose == torch.arange(6)).any())
    with pytest.raises(
        SpecError, match="gives 1 negative image, which needs the residual of another one"
    ):
        made.cover(images[:1], torch.zeros(1, dtype=torch.int64), rng())


@pytest.mark.parametrize("dither", [False, True])
def test_bppa_shows_noise_and_other_levels(images, dither):
    made = attack("bppa", levels=4, dither=dither)
    found = shown(made, images)
    noise = (found["noise as large as the rounding"].images - images).abs()
    assert 0.15 < noise.max() <= 1 / 6 + 1e-6
    other = found[f"4 levels {'without' if dither else 'with'} dithering"].images
    assert torch.equal(other, attack("bppa", levels=4, dither=not dither).apply(images))
    for levels in (5, 7):
        steps = found[f"{levels} levels"].images * (levels - 1)
        assert torch.allclose(steps, steps.round(), atol=1e-5)
