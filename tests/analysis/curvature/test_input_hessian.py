"""Second derivatives for the pixels, against dense matrices of each image, in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.curvature.input_hessian import InputHessian, top_each, trace_each
from tests.helpers import cases, oracles


def known_of(model, images, labels, steps, probes=3):
    hessian = InputHessian(copy.deepcopy(model).eval(), images, labels)
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(hessian.shape, generator=rng, dtype=images.dtype)
    signs = torch.randint(0, 2, (len(images), probes, hessian.shape[1]), generator=rng) * 2.0 - 1
    known = top_each(hessian, start, steps)
    return hessian, known, list(trace_each(hessian, known, signs.to(images)))


@pytest.mark.parametrize("case", cases.CASES)
def test_products_eigenvalues_and_traces_are_those_of_the_dense_matrices(case):
    model, images, labels = oracles.problem(case)
    matrices = oracles.input_hessians_of(case)
    true = torch.linalg.eigvalsh(matrices)
    hessian, known, traces = known_of(model, images, labels, steps=12)
    v = torch.randn(hessian.shape, dtype=torch.float64)
    assert torch.allclose(hessian @ v, torch.einsum("nij,nj->ni", matrices, v), atol=1e-12)
    top = true[:, -1].numpy()
    assert (abs(known.value - top) <= known.residual + 1e-14).all()
    assert (known.residual <= 0.02 * top).all()
    # of rank C - 1 at most where the network is piecewise linear in the pixels: the basis has it
    # all
    exact = torch.diagonal(matrices, dim1=1, dim2=2).sum(1).numpy()
    for sample in traces:
        if case == "no_batch_norm":
            assert abs(sample - exact).max() < 0.1 * exact.max()
        else:
            assert abs(sample - exact).max() < 1e-10
    losses = F.cross_entropy(copy.deepcopy(model).eval()(images), labels, reduction="none")
    assert torch.allclose(hessian.losses, losses)


def test_few_steps_are_certified_and_the_trace_is_unbiased():
    model, images, labels = oracles.problem("no_batch_norm")
    matrices = oracles.input_hessians_of("no_batch_norm")
    _, known, samples = known_of(model, images, labels, steps=2, probes=400)
    true = torch.linalg.eigvalsh(matrices).numpy()
    assert (abs(true - known.value[:, None]).min(1) <= known.residual).all()  # one lies within
    assert (known.value <= true[:, -1]).all()
    found = torch.as_tensor(np.array(samples))
    exact = torch.diagonal(matrices, dim1=1, dim2=2).sum(1)
    error = found.std(0) / 400**0.5
    assert (error > 0).all()
    assert ((found.mean(0) - exact).abs() < 4 * error).all()


def test_a_sure_model_keeps_its_digits_in_float32():
    """Where p is 1 to within 1e-7, the usual form of the cross-entropy gives zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    model[1].weight.data *= 80
    images = torch.rand(40, 3, 2, 2)
    labels = model(images).argmax(1)
    wide = copy.deepcopy(model).double()
    matrices = oracles.dense_input_hessians(wide, images.double(), labels)
    true = torch.linalg.eigvalsh(matrices)[:, -1]
    losses = F.cross_entropy(wide(images.double()), labels, reduction="none")
    sure = (losses < 1e-7) & (losses > 1e-12)
    assert sure.sum() > 3
    found = torch.tensor(known_of(model, images, labels, steps=4)[1].value)
    assert torch.allclose(found[sure], true[sure], rtol=0.01, atol=0)


def test_the_label_plays_no_part_in_a_piecewise_linear_network():
    model, images, labels = cases.conv_net()
    first = known_of(model, images, labels, steps=4)[1].value
    other = known_of(model, images, (labels + 1) % cases.NUM_CLASSES, steps=4)[1].value
    assert first == pytest.approx(other, rel=1e-9)
    model, images, labels = cases.no_batch_norm()
    first = known_of(model, images, labels, steps=4)[1].value
    other = known_of(model, images, (labels + 1) % cases.NUM_CLASSES, steps=4)[1].value
    assert first != pytest.approx(other, rel=1e-3)


def test_a_loss_that_does_not_bend_and_one_that_overflows():
    class Same(nn.Module):
        def forward(self, x):
            return x.new_zeros(len(x), 3)

    images, labels = torch.rand(4, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])

    class Constant(Same):
        def forward(self, x):
            return super().forward(x) + 0 * x.sum()

    _, known, samples = known_of(Constant(), images, labels, steps=3)
    assert (known.value == 0).all() and (known.residual == 0).all() and (samples[0] == 0).all()
    bad = images.clone()
    bad[1, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match="not finite: the loss overflows"):
        known_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 3).double()), bad, labels, steps=2)
