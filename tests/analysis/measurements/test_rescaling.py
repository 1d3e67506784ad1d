"""Rescaling a layer moves curvature and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.curvature.operators import Hessian
from analysis.measurements.rescaling import MEASURES, Rescaling
from tests.helpers.oracles import hessian_of, problem
from tests.helpers.streams import last


def test_rescaling_moves_curvature_and_nothing_else():
    model, images, labels = problem("conv_net")
    found = last(Rescaling(points=5, steps=25, probes=3).measure(model, images, labels, seed=0))
    values, arrays = found.values, found.arrays
    assert (values["layer"], values["norm_layer"]) == ("conv1", "bn1")
    assert values["max_change"] < 1e-12
    assert values["changed_predictions"] == 0
    np.testing.assert_allclose(arrays["factor"], [0.01, 0.1, 1, 10, 100])
    assert values["lambda_max_ratio"] > 100 and values["trace_ratio"] > 100
    for name in set(MEASURES) - {"lambda_max", "trace"} | {"fisher_rao_norm"}:
        np.testing.assert_allclose(arrays[name], arrays[name][2], rtol=1e-6, err_msg=name)
    where = Hessian(*problem("conv_net")).blocks
    for k, factor in enumerate(arrays["factor"]):
        d = torch.ones(len(hessian_of("conv_net")), dtype=torch.float64)
        for name in ("conv1.weight", "conv1.bias"):
            d[where[name]] = 1 / factor
        top = float(torch.linalg.eigvalsh(d[:, None] * hessian_of("conv_net") * d)[-1])
        assert abs(arrays["lambda_max"][k] - top) <= arrays["lambda_max_error"][k] + 1e-9 * top


def test_a_layer_that_cannot_be_rescaled_is_refused():
    model, images, labels = problem("conv_net")
    with pytest.raises(ValueError, match=r"linear cannot be rescaled.*Allowed: conv1, conv2"):
        next(Rescaling(layer="linear").measure(model, images, labels, seed=0))
    assert (
        last(Rescaling(layer="conv2", points=3).measure(model, images, labels, seed=0)).values[
            "norm_layer"
        ]
        == "bn2"
    )
