"""Signs: the same for the same seed, and of the class they show."""

import torch

from ngf.data import to_float
from ngf.data.signs import render


def test_signs_are_the_same_for_the_same_seed():
    one, two, other = render(60, seed=3), render(60, seed=3), render(60, seed=4)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)
    assert not torch.equal(one.images, other.images)
    assert one.labels.bincount().tolist() == [5] * 12


def test_signs_show_their_class():
    """Class means differ far more between classes than between two draws of one class."""
    a, b = render(1200, seed=1), render(1200, seed=2)
    means = [
        torch.stack([to_float(x.images[x.labels == k]).mean(0) for k in range(12)]) for x in (a, b)
    ]
    within = (means[0] - means[1]).flatten(1).norm(dim=1).mean()
    between = torch.pdist(means[0].flatten(1)).mean()
    assert between > 2 * within
