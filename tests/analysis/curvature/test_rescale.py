"""Layers that can be rescaled, exactly, and diagonals that measure the weights."""

from __future__ import annotations

import copy

import pytest
import torch

from analysis.curvature.rescale import rescaled, scale_pairs, scaling
from ngf import models
from tests.helpers import cases
from tests.helpers.oracles import naive_scaling, problem


@pytest.mark.parametrize("kind", ["filter", "layer", "adaptive"])
def test_scalings_measure_the_weights(kind):
    model, _, _ = problem("conv_net")
    d = scaling(dict(model.named_parameters()), kind)
    torch.testing.assert_close(d, naive_scaling(model, kind))
    with pytest.raises(ValueError, match="Allowed: filter, layer, adaptive"):
        scaling(dict(model.named_parameters()), "wide")


def test_pairs_are_found_where_nothing_else_reads_the_output():
    pairs = {
        name: scale_pairs(copy.deepcopy(problem(name)[0]).eval(), problem(name)[1])
        for name in cases.CASES
    }
    assert pairs == {
        "conv_net": {"conv1": "bn1", "conv2": "bn2"},
        "residual_net": {},
        "no_batch_norm": {},
        "one_layer": {},
    }  # in the residual net, a skip connection reads the output, too
    net = models.preact_resnet.PreActResNet(
        5, 3, widths=(4, 6), num_blocks=(1, 1), stem_stride=1
    ).eval()
    assert scale_pairs(net, torch.rand(2, 3, 8, 8)) == {
        f"stage{i}.block1.conv1": f"stage{i}.block1.bn2" for i in (1, 2)
    }


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_rescaling_is_exact_even_where_eps_decides(factor):
    model, images, _ = problem("conv_net")
    model = copy.deepcopy(model).eval()
    model.bn1.running_var.fill_(1e-6)  # a tenth of eps
    other = rescaled(model, "conv1", "bn1", factor)
    with torch.no_grad():
        torch.testing.assert_close(other(images), model(images), rtol=1e-10, atol=1e-12)
    assert torch.equal(other.conv1.bias, model.conv1.bias * factor)
    with pytest.raises(ValueError, match="factor = 0"):
        rescaled(model, "conv1", "bn1", 0.0)
