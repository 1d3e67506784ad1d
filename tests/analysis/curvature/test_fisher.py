"""Random residuals have the covariance that makes the Fisher information."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from analysis.curvature.fisher import image_traces, residuals, sampled_gradients
from tests.helpers import oracles
from tests.helpers.oracles import problem
from tests.helpers.streams import generator


def test_random_residuals_have_the_covariance_of_the_softmax(monkeypatch):
    rows = [
        [0.1, 0.2, 0.3, 0.4],
        [0.25] * 4,
        [0.9, 0.0, 0.1, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [1e-30, 1 - 1e-9, 1e-9, 1e-20],
    ]
    patterns = torch.cartesian_prod(*[torch.tensor([0, 1])] * 4)  # all 16 signs, each once
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, generator: patterns)
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-7)):
        for row in rows:
            p = torch.tensor(row, dtype=dtype)
            u = residuals(p.expand(16, 4), "signs", generator())
            expected = torch.diag(p) - p[:, None] * p[None, :]
            torch.testing.assert_close(u.T @ u / 16, expected, rtol=1e-5, atol=tolerance)


def test_labels_are_drawn_from_the_predictions():
    p = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    u = residuals(p.expand(20_000, 4), "labels", generator())
    shares = (p - u).mean(0)  # of one-hot labels
    assert shares[1] == 0
    assert (shares - p).abs().max() < 4 * 0.5 / 20_000**0.5


@pytest.mark.parametrize("name", ["conv_net", "residual_net"])
@pytest.mark.parametrize(("sampling", "names"), [("signs", None), ("labels", ["linear.weight"])])
def test_diagonal_of_the_fisher_matrix(name, sampling, names):
    model, images, _ = problem(name)
    true = oracles.dense_fisher(model, images, names).diagonal()
    frozen = copy.deepcopy(model).eval()
    parameters = [p for key, p in frozen.named_parameters() if names is None or key in names]
    samples, rng = [], generator()
    for _ in range(300):
        draws = sampled_gradients(frozen, parameters, images, sampling, 4, rng)
        gradients = [torch.cat([part.reshape(-1) for part in draw]) for draw in draws]
        samples.append(torch.stack(gradients).square().sum(0) / len(images))
    drawn = torch.stack(samples)
    mean, stderr = drawn.mean(0), drawn.std(0) / 300**0.5
    assert ((mean - true).abs() <= 5.5 * stderr + 1e-12).all()
    assert abs(float((mean - true).sum())) < 0.05 * float(true.sum())


@pytest.mark.parametrize("name", ["conv_net", "no_batch_norm"])
@pytest.mark.parametrize("sampling", ["signs", "labels"])
def test_the_trace_of_each_image(name, sampling):
    model, images, _ = problem(name)
    names = [key for key, _ in model.named_parameters()]
    frozen, rng = copy.deepcopy(model).eval(), generator()
    drawn = np.array(
        [image_traces(frozen, names, images, sampling=sampling, generator=rng) for _ in range(200)]
    )
    true = [float(oracles.dense_fisher(model, image[None]).trace()) for image in images[:3]]
    error = drawn.std(0)[:3] / 200**0.5
    assert (np.abs(drawn.mean(0)[:3] - true) <= 4.5 * error).all()
    whole = float(oracles.fisher_of(name).trace())
    assert drawn.mean() == pytest.approx(whole, rel=0.05)
