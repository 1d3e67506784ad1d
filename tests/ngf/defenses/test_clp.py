"""CLP against dense singular values, and on a channel that was planted."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ngf import models
from ngf.data.images import Images
from ngf.defenses.clp import CLP, channel_bounds, standardized
from ngf.defenses.contract import Problem
from ngf.models import norms_behind_convolutions
from ngf.options import SpecError
from tests.helpers.purifications import finish, short


def spread(model: nn.Module) -> nn.Module:
    """Norms as of a trained network."""
    rng = torch.Generator().manual_seed(5)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            shape = layer.weight.shape
            layer.weight.data = torch.randn(shape, generator=rng)
            layer.bias.data = torch.randn(shape, generator=rng)
            layer.running_var.copy_(0.1 + torch.rand(shape, generator=rng))
    return model


@pytest.mark.parametrize("name", ["preact_resnet_tiny", "mobilenet_v2"])
def test_bounds_against_dense_singular_values(name):
    torch.manual_seed(0)
    model = spread(models.build(name, 5).eval()).double()
    found, _left_out = norms_behind_convolutions(model, torch.rand(2, 3, 32, 32).double())
    for convolution, norm in list(found.items())[:4]:
        conv, bn = model.get_submodule(convolution), model.get_submodule(norm)
        wanted = []
        for k in range(conv.out_channels):
            matrix = conv.weight[k].detach().numpy()
            largest = np.linalg.svd(matrix.reshape(len(matrix), -1), compute_uv=False)[0]
            deviation = np.sqrt(bn.running_var[k].item() + bn.eps)
            wanted.append(largest * abs(bn.weight[k].item()) / deviation)
        mine = channel_bounds(model, convolution, norm)
        assert mine.numpy() == pytest.approx(np.array(wanted), rel=1e-12), convolution
        bounds = np.array(wanted)
        scores = (bounds - bounds.mean()) / bounds.std(ddof=1)
        assert standardized(mine).numpy() == pytest.approx(scores, rel=1e-9, abs=1e-12)


def test_a_bound_holds_for_one_pixel_that_changes():
    """A change of one pixel of the input is stretched by no more than L_k."""
    torch.manual_seed(1)
    conv, bn = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)
    net = spread(nn.Sequential(conv, bn)).eval().double()
    bounds = channel_bounds(net, "0", "1")
    image = torch.rand(1, 3, 6, 6).double()
    for seed in range(20):
        step = torch.randn(3, generator=torch.Generator().manual_seed(seed)).double()
        changed = image.clone()
        changed[0, :, 3, 3] += step
        difference = (net(changed) - net(image))[0].flatten(1).norm(dim=1)
        assert (difference <= bounds * step.norm() * (1 + 1e-12)).all()


def test_equal_channels_have_no_score():
    assert standardized(torch.ones(5)).tolist() == [0.0] * 5
    assert standardized(torch.tensor([2.0])).tolist() == [0.0]


def test_a_planted_channel_is_found_by_either_part_of_its_bound(problem):
    """One filter that is large, and one norm that hardly divides."""
    model = copy.deepcopy(problem.model)
    with torch.no_grad():
        model.stage1.block1.conv1.weight[3] *= 30
        model.stage2.block1.bn2.running_var[7] /= 1e4
        model.stage2.block1.bn2.bias[7] = 0.3
        model.stage3.block1.conv2.weight[5] *= 30  # no BatchNorm behind it
    purification = CLP(u=3.0).purify(replace(problem, model=model))
    events = finish(purification)
    assert [(event.step, event.steps) for event in events] == [(0, 1), (1, 1)]
    gone = {
        name: norm.weight.eq(0).nonzero()[:, 0].tolist()
        for name, norm in purification.model.named_modules()
        if isinstance(norm, nn.BatchNorm2d) and norm.weight.eq(0).any()
    }
    assert gone == {"stage1.block1.bn2": [3], "stage2.block1.bn2": [7]}
    assert purification.model.stage2.block1.bn2.bias[7] == 0
    about = purification.summary()
    assert (about["pruned"], about["units"], about["u"]) == (2, 128, 3.0)
    assert events[-1].kept == pytest.approx(1 - 2 / 128)
    assert set(about["left_out"]) >= {"stage3.block1.conv2", "stage2.block1.shortcut"}


class ByChannel(nn.Module):
    """Channel k of eight has the bound k + 1; the sum of the first four is the class, and the last
    four do nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 8, 1, bias=False), nn.BatchNorm2d(8, eps=0.0)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1, 2, 30, 4, 5, 6, 7, 50.0]).view(8, 1, 1, 1))
            self.bn.weight.fill_(0.5)

    def forward(self, images):
        x = self.bn(self.conv(images)).mean((2, 3))
        return torch.stack([x[:, 2] - 7.5, 0 * x[:, 7]], 1)


def test_the_rule_takes_the_smallest_u_before_the_first_that_harms():
    """Channel 7 is far from the mean and of no use, channel 2 is next and is what counts."""
    pixels = torch.tensor([0, 255] * 20, dtype=torch.uint8).view(40, 1, 1, 1)
    clean = Images(pixels, 1 - torch.arange(40) % 2)
    problem = Problem(ByChannel().eval(), clean, None)
    purification = CLP().purify(problem)
    events = finish(purification)
    scores = purification.scores["bn"]
    assert scores[7] > scores[2] > 0.75 and purification.model.bn.weight[2] == 0.5
    assert purification.model.bn.weight.eq(0).nonzero().tolist() == [[7]]
    u = purification.summary()["u"]
    assert u < scores[7] <= u + 0.25, "the first in steps of a quarter that takes it"
    assert events[-1].step == events[-1].steps == 1 < events[0].steps
    assert "smallest u" in purification.summary()["why"]


def test_networks_without_pairs_are_refused_with_the_reason(problem):
    torch.manual_seed(0)
    with pytest.raises(SpecError, match="BatchNorm directly follows; this model has none"):
        short("clp").purify(replace(problem, model=models.build("vit_tiny", 12).eval()))
    bare = models.build("vgg_tiny", 12).eval()
    for k in range(1, 7):
        old = bare.get_submodule(f"bn{k}")
        new = nn.BatchNorm2d(old.num_features, track_running_stats=False)
        bare.set_submodule(f"bn{k}", new)
    with pytest.raises(SpecError, match="conv1: the BatchNorm behind it keeps no variance"):
        short("clp").purify(replace(problem, model=bare))
