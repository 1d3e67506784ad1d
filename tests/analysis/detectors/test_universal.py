"""Universal perturbations, where the best one is known."""

from __future__ import annotations

import torch
from torch import nn

from analysis.detectors.universal import hits, perturb


def _linear(weight: torch.Tensor) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data.copy_(weight)
    return nn.Sequential(nn.Flatten(), layer).double().eval().requires_grad_(False)


def test_of_a_linear_classifier_it_is_the_sign_of_the_weights():
    """Two classes: the gradient for class 1 is along w_1 - w_0 on every image."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 12, generator=generator)
    images = 0.3 + 0.4 * torch.rand(20, 3, 2, 2, generator=generator, dtype=torch.float64)
    labels = torch.arange(20) % 2
    *_, found = perturb(_linear(weight), images, labels, 2, epsilon=0.1, steps=20, seed=0)
    wanted = 0.1 * torch.stack([weight[0] - weight[1], weight[1] - weight[0]]).sign()
    torch.testing.assert_close(found.flatten(1), wanted.double())


def test_hits_count_images_of_other_classes_alone():
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    images = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 2]].view(4, 3, 1, 1) * 0.4
    labels = torch.tensor([0, 0, 1, 2])
    changes = torch.zeros(3, 3, 1, 1, dtype=torch.float64)
    changes[1, 1] = 0.5  # beats 0.4 on every image
    changes[2, 2] = 0.3  # does not
    right, count = hits(_linear(weight), images, labels, changes)
    assert (right.tolist(), count.tolist()) == ([0, 3, 0], [2, 3, 3])


def test_a_planted_direction_is_the_easiest_class():
    """One class looks at a pixel that is dark on every image."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.zeros(4, 12)
    weight[:, :4] = 4 * torch.eye(4)
    weight[3, 11] = 60.0
    images = torch.rand(40, 12, generator=generator, dtype=torch.float64) * 0.1
    labels = torch.arange(40) % 4
    images[torch.arange(40), labels] = 0.9
    images[:, 11] = 0.01
    images = images.view(40, 3, 2, 2)
    *_, found = perturb(_linear(weight), images, labels, 4, epsilon=0.08, steps=15, seed=0)
    assert float(found.abs().max()) <= 0.08
    right, count = hits(_linear(weight), images, labels, found)
    assert right.tolist() == [0, 0, 0, 30] and count.tolist() == [30] * 4
