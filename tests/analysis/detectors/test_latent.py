"""The smallest shift of the features, where it is known."""

from __future__ import annotations

import torch

from analysis.detectors.latent import smallest_shifts


def test_one_image_and_two_classes_have_a_closed_form():
    """The shift is the margin over the distance of the rows; features of one image have no spread,
    so it is in units of their length.
    """
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], dtype=torch.float64)
    bias = torch.tensor([0.5, 0.0], dtype=torch.float64)
    h = torch.tensor([[3.0, 0.0, 4.0]], dtype=torch.float64)
    found = smallest_shifts(h, torch.tensor([0]), weight, bias)
    torch.testing.assert_close(found[1], torch.tensor(3.5 / 5**0.5 / 5).double(), rtol=2e-3, atol=0)
    assert found[0] < 1e-3, "no image of another class has to go there"


def test_a_class_that_a_short_shift_reaches_is_found_at_any_scale():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 6
    weight = torch.eye(6, dtype=torch.float64)
    weight[2] *= 4  # a unit of its feature counts four times
    h = 3 * torch.eye(6, dtype=torch.float64)[labels]
    h[:, 2] /= 4
    h += 0.05 * torch.randn(h.shape, generator=generator, dtype=torch.float64)
    bias = torch.zeros(6, dtype=torch.float64)
    found = smallest_shifts(h, labels, weight, bias)
    assert int(found.argmin()) == 2
    assert found[2] < 0.6 * found.median()
    scaled = smallest_shifts(10 * h, labels, weight / 10, bias)
    torch.testing.assert_close(scaled, found, rtol=1e-2, atol=1e-4)
    few = smallest_shifts(h, labels, weight, bias, share=0.5)
    assert bool((few <= found * 1.01).all())
