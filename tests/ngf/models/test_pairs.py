"""Which BatchNorm takes what a convolution gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf import models
from ngf.models import norms_behind_convolutions

NONE = "its outputs enter no BatchNorm directly"


def pairs(name: str) -> tuple[dict[str, str], dict[str, str]]:
    with torch.device("meta"):
        return norms_behind_convolutions(models.build(name, 5).eval(), torch.zeros(2, 3, 32, 32))


def test_pre_activation():
    found, left_out = pairs("preact_resnet_tiny")
    assert found == {
        "stem": "stage1.block1.bn1",
        "stage1.block1.conv1": "stage1.block1.bn2",
        "stage2.block1.conv1": "stage2.block1.bn2",
        "stage3.block1.conv1": "stage3.block1.bn2",
    }
    assert left_out == {
        "stage1.block1.conv2": NONE,
        "stage2.block1.shortcut": NONE,
        "stage2.block1.conv2": NONE,
        "stage3.block1.shortcut": NONE,
        "stage3.block1.conv2": NONE,
    }


def test_residual():
    found, left_out = pairs("resnet18")
    assert left_out == {} and len(found) == 20
    assert found["conv1"] == "bn1"
    assert found["layer2.0.conv2"] == "layer2.0.bn2"
    assert found["layer2.0.downsample.0"] == "layer2.0.downsample.1"


def test_vgg():
    found, left_out = pairs("vgg19_bn")
    assert found == {f"conv{k}": f"bn{k}" for k in range(1, 17)} and left_out == {}


def test_dense_blocks_concatenate_what_their_second_convolution_gives():
    found, left_out = pairs("densenet121")
    assert found["features.denseblock1.denselayer1.conv1"].endswith("denselayer1.norm2")
    assert left_out["features.denseblock1.denselayer1.conv2"] == NONE


def test_a_transformer_has_none():
    assert pairs("vit_tiny") == ({}, {})


class Odd(nn.Module):
    """Modules are listed against the order in which they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.bn_b, self.conv_a = nn.BatchNorm2d(4), nn.Conv2d(3, 4, 1)
        self.bn_a, self.conv_b = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.forked, self.one, self.other = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.written, self.behind = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.again, self.twice = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images):
        x = F.relu_(self.bn_a(self.conv_a(images)))  # what is written afterwards does not matter
        x = self.bn_b(self.conv_b(x))
        forked = self.forked(x)
        x = self.one(forked) + self.other(forked)
        x = self.behind(F.relu_(self.written(x)))
        x = self.twice(self.twice(self.again(x)))
        return x.mean((2, 3))


def test_pairs_are_made_by_what_flows():
    model = Odd().train()
    found, left_out = norms_behind_convolutions(model, torch.rand(2, 3, 4, 4))
    assert found == {"conv_a": "bn_a", "conv_b": "bn_b"}
    assert left_out == {
        "forked": "several BatchNorms take its outputs",
        "written": NONE,
        "again": NONE,
    }
    assert model.training and int(model.bn_a.num_batches_tracked) == 0


def test_a_convolution_that_is_used_twice_has_no_pair():
    class Twice(nn.Sequential):
        def forward(self, images):
            return self[1](self[0](self[1](self[0](images)))).mean((2, 3))

    found, left_out = norms_behind_convolutions(
        Twice(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), torch.rand(2, 3, 4, 4)
    )
    assert found == {} and left_out == {"0": "it is used twice in a forward pass"}


@pytest.mark.parametrize("name", ["vgg_tiny", "resnet50", "mobilenet_v2", "efficientnet_b0"])
def test_a_pair_has_a_channel_for_each_channel(name):
    with torch.device("meta"):
        model = models.build(name, 5).eval()
        found, left_out = norms_behind_convolutions(model, torch.zeros(2, 3, 32, 32))
    for convolution, norm in found.items():
        assert model.get_submodule(convolution).out_channels == (
            model.get_submodule(norm).num_features
        )
    convolutions = {n for n, one in model.named_modules() if isinstance(one, nn.Conv2d)}
    assert set(found) | set(left_out) == convolutions
