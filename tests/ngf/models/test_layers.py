"""Which layers can be tuned, and which makes the logits, by what flows through a network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf.models import classifier, flow
from ngf.options import SpecError

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Odd(nn.Module):
    """All that goes wrong in real networks at once; the head is made first."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 4)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.twice = nn.Conv2d(6, 6, 1)
        self.dropped = nn.Linear(6, 6)
        self.tied, self.tied_too = nn.Linear(6, 6), nn.Linear(6, 6)
        self.tied_too.weight = self.tied.weight
        self.unscaled = nn.LayerNorm(6, elementwise_affine=False)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.aux = nn.Linear(6, 4)
        self.aux_bn = nn.BatchNorm1d(6)

    def forward(self, images):
        x = F.relu(self.twice(F.relu(self.twice(self.bn(self.stem(images))))))
        x = x.mean((2, 3))
        x = x + self.dropped(x).detach()
        x = self.tied_too(self.tied(x)) + x
        return self.head(self.normed(self.unscaled(x)))


def test_what_cannot_be_tuned_is_left_out_with_the_reason():
    model = Odd().train()
    model.stem.requires_grad_(False)
    found = flow(model, IMAGES)
    assert list(found.usable) == ["head", "stem", "bn"]
    assert list(found.layers) == ["head", "stem"]
    assert found.left_out == {
        "twice": "it is used twice in a forward pass",
        "dropped": "what it gives does not reach the output",
        "tied": "it shares its weights with tied_too",
        "tied_too": "it shares its weights with tied",
        "unscaled": "it has no weights",
        "normed": "its weights are computed from others",
        "aux": "it is not used in a forward pass",
        "aux_bn": "it is not used in a forward pass",
    }
    assert found.last == "head", "not the last of the list"
    assert model.training and model.bn.training and int(model.bn.num_batches_tracked) == 0
    assert not model.stem.weight.requires_grad and model.head.weight.requires_grad
    assert not any(module._forward_hooks for module in model.modules())


class Ends(nn.Module):
    def __init__(self, end) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(192, 5), nn.Linear(5, 5)
        self.end = end

    def forward(self, images):
        return self.end(self, images.flatten(1))


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (lambda m, x: m.second(m.first(x)), "second"),
        (lambda m, x: m.first(x), "first"),
        (lambda m, x: m.second(m.first(x)).view(-1, 5), "second"),
        (lambda m, x: m.second(m.first(x)) / 2, ""),
        (lambda m, x: m.second(m.first(x)).mul_(2), ""),
        (lambda m, x: m.second(m.first(x).view(-1, 1, 5)).mean(1), ""),
    ],
)
def test_the_last_layer_is_the_one_whose_output_is_given_back(end, last):
    found = flow(Ends(end), IMAGES)
    assert found.last == last
    if last:
        assert classifier(found)[0] == last
    else:
        with pytest.raises(SpecError, match="not those of one linear layer"):
            classifier(found)


def test_a_head_that_is_used_twice_is_refused_with_the_reason():
    found = flow(Ends(lambda m, x: m.second(m.second(m.first(x)))), IMAGES)
    assert found.last == "second"
    with pytest.raises(SpecError, match="'second' cannot be tuned: it is used twice"):
        classifier(found)
