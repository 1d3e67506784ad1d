"""The closed form of the last layer against the dense Hessian."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from analysis.curvature.last_layer import LastLayer, LastLayerFisher
from tests.helpers import oracles
from tests.helpers.oracles import dense, problem


@pytest.mark.parametrize(
    "names", [["linear.weight"], ["linear.bias"], ["linear.bias", "linear.weight"]]
)
def test_closed_form_of_the_last_layer(names):
    model, images, labels = problem("conv_net")
    operator = LastLayerFisher(model, images, labels, names=names)
    matrix = dense(operator)
    torch.testing.assert_close(matrix, oracles.dense_hessian(model, images, labels, names))
    torch.testing.assert_close(operator.diagonal(), matrix.diagonal())
    assert operator.trace() == pytest.approx(float(matrix.trace()), rel=1e-12)
    with pytest.raises(
        ValueError, match=r"no parameters conv1.weight. Allowed: linear.weight, linear.bias"
    ):
        LastLayerFisher(model, images, labels, names=["conv1.weight"])


def test_a_model_that_ends_otherwise_has_no_closed_form():
    model, images, labels = problem("conv_net")
    longer = nn.Sequential(copy.deepcopy(model), nn.Softplus())
    assert LastLayer.of(longer.eval(), images) is None
    with pytest.raises(ValueError, match="does not end in a linear layer"):
        LastLayerFisher(longer, images, labels)
