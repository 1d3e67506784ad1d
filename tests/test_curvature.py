"""Curvature against dense matrices in float64; estimators by their error bars; the model stays as it was."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn

from analysis.density import cumulative, smooth, wasserstein
from analysis.fisher_trace import FisherTrace, _residuals
from analysis.hessian_spectrum import HessianSpectrum
from analysis.krylov import deflated_trace, density, lanczos
from analysis.operators import GaussNewton, Hessian
from tests import cases, oracles

CASES = list(cases.CASES)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def problem(name: str) -> cases.Problem:
    return cases.CASES[name]()


@functools.cache
def hessian_of(name: str) -> torch.Tensor:
    return oracles.dense_hessian(*problem(name))


@functools.cache
def fisher_of(name: str) -> torch.Tensor:
    return oracles.dense_fisher(*problem(name)[:2])


def dense(operator) -> torch.Tensor:
    """All columns of an operator: (P, P)."""
    return torch.stack([operator @ unit for unit in torch.eye(operator.size, dtype=operator.dtype)], 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last(iterator):
    *_, item = iterator
    return item


# Operators


@pytest.mark.parametrize("name", CASES)
def test_hessian_is_the_matrix_of_second_derivatives(name):
    torch.testing.assert_close(dense(Hessian(*problem(name))), hessian_of(name), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_gauss_newton_is_the_true_fisher_matrix(name):
    torch.testing.assert_close(dense(GaussNewton(*problem(name))), fisher_of(name), rtol=1e-9, atol=1e-11)


def test_last_linear_layer_has_one_curvature():
    model, images, labels = problem("conv_net")
    names = ["linear.weight", "linear.bias"]
    hessian = dense(Hessian(model, images, labels, names=names))
    torch.testing.assert_close(hessian, dense(GaussNewton(model, images, labels, names=names)))
    torch.testing.assert_close(hessian, oracles.dense_fisher(model, images, names))


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
def test_a_subset_of_parameters_is_a_block(kind):
    model, images, labels = problem("conv_net")
    whole = hessian_of("conv_net") if kind is Hessian else fisher_of("conv_net")
    full = kind(model, images, labels)
    names = ["conv2.weight", "bn1.weight"]  # in another order than the model's
    part = kind(model, images, labels, names=names)
    rows = torch.cat([torch.arange(full.size)[full.blocks[name]] for name in names])
    torch.testing.assert_close(dense(part), whole[rows][:, rows], rtol=1e-9, atol=1e-11)
    assert list(part.blocks) == names
    assert part.blocks["bn1.weight"] == slice(324, 330)


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
@pytest.mark.parametrize("chunk", [1, 4, 10, 11, 1000])
def test_chunks_and_cache_change_nothing(kind, chunk):
    model, images, labels = problem("conv_net")
    v = torch.randn(kind(model, images, labels).size, generator=generator(), dtype=torch.float64)
    whole = kind(model, images, labels, chunk=11) @ v
    for cache_bytes in (0, 2**16, 2**30):
        operator = kind(model, images, labels, chunk=chunk, cache_bytes=cache_bytes)
        torch.testing.assert_close(operator @ v, whole, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(operator @ v, whole, rtol=1e-11, atol=1e-13)  # now from the cache
        assert bool(operator._graphs) == (cache_bytes > 0 and (chunk < 10 or cache_bytes > 2**16))


def test_float32_agrees_with_float64():
    model, images, labels = problem("conv_net")
    exact = Hessian(model, images, labels)
    v = torch.randn(exact.size, generator=generator(), dtype=torch.float64)
    wide = exact @ v
    operator = Hessian(copy.deepcopy(model).float(), images.float(), labels, chunk=3)
    narrow = operator @ v
    assert narrow.dtype == operator.dtype == torch.float32
    assert (narrow - wide).norm() < 1e-5 * wide.norm()


def test_a_longer_budget_is_kept_to():
    model, images, labels = problem("conv_net")
    operator = Hessian(model, images, labels, chunk=2)
    operator @ torch.zeros(operator.size)
    per_chunk = 2**30 // operator._num_cached
    tight = Hessian(model, images, labels, chunk=2, cache_bytes=int(3.5 * per_chunk))
    tight @ torch.zeros(operator.size)
    assert len(tight._graphs) == 3


# Krylov


@pytest.mark.parametrize(("name", "names"), [("one_layer", None), ("conv_net", ["conv1.weight"]),
                                         ("residual_net", ["conv.weight", "unused", "linear.bias"])])
def test_full_lanczos_finds_every_eigenvalue(name, names):
    model, images, labels = problem(name)
    true = torch.linalg.eigvalsh(oracles.dense_hessian(model, images, labels, names)).numpy()
    ritz = last(lanczos(Hessian(model, images, labels, names=names), 10_000, generator()))
    np.testing.assert_allclose(ritz.values, true, atol=1e-11)  # multiplicities included
    assert ritz.residuals.max() < 1e-9
    assert abs(ritz.weights.sum() - 1) < 1e-12


def test_thirty_steps_find_the_extremes_and_say_how_well():
    matrix = hessian_of("conv_net")
    true = torch.linalg.eigvalsh(matrix).numpy()
    for ritz in lanczos(Hessian(*problem("conv_net")), 30, generator(1)):
        nearest = np.abs(ritz.values[:, None] - true[None]).min(1)
        assert (nearest <= ritz.residuals + 1e-12).all()  # the certificate holds at every step
        v = ritz.vector(-1)
        assert abs(float(v.norm()) - 1) < 1e-12
        assert float((matrix @ v - ritz.values[-1] * v).norm()) <= ritz.residuals[-1] + 1e-12
    assert abs(ritz.values[-1] - true[-1]) < 1e-9 * true[-1]
    assert abs(ritz.values[0] - true[0]) < 1e-3 * true[-1]
    gram = ritz.basis @ ritz.basis.T
    torch.testing.assert_close(gram, torch.eye(30, dtype=torch.float64), rtol=0, atol=1e-13)


def test_float32_has_no_copies_of_eigenvalues():
    matrix = oracles.spectrum_like_a_network(400)
    ritz = last(lanczos(oracles.DenseOperator(matrix.float()), 100, generator()))
    np.testing.assert_allclose(ritz.values[-3:], [9, 17, 40], rtol=1e-5)
    nearest = np.abs(ritz.values[:, None] - torch.linalg.eigvalsh(matrix).numpy()[None]).min(1)
    assert (nearest <= ritz.residuals).all()


def test_zero_curvature_is_no_error():
    ritz = last(lanczos(oracles.DenseOperator(torch.zeros(7, 7, dtype=torch.float64)), 5, generator()))
    assert not ritz.values.any()
    assert not ritz.residuals.any()


def test_trace_is_exact_when_the_basis_spans_everything():
    matrix = oracles.spectrum_like_a_network(40)
    operator = oracles.DenseOperator(matrix)
    ritz = last(lanczos(operator, 40, generator()))
    (trace,) = deflated_trace(operator, ritz, 10, generator())
    assert abs(trace.value - float(matrix.trace())) < 1e-10
    assert trace.stderr == 0
    assert operator.products == 40


def test_trace_error_bars_are_honest():
    matrix = oracles.spectrum_like_a_network(150)
    true, operator = float(matrix.trace()), oracles.DenseOperator(matrix)
    covered, errors = 0, []
    for seed in range(100):
        rng = generator(seed)
        ritz = last(lanczos(operator, 10, rng))
        trace = last(deflated_trace(operator, ritz, 20, rng))
        covered += abs(trace.value - true) <= 1.96 * trace.stderr
        errors.append(trace.value - true)
    assert covered >= 88
    assert abs(np.mean(errors)) < 3 * np.std(errors) / 10  # unbiased


@pytest.mark.parametrize("matrix", [lambda: oracles.spectrum_like_a_network(600),
                                    lambda: hessian_of("conv_net")], ids=["synthetic", "conv_net"])
def test_density_is_close_to_the_true_one(matrix):
    matrix = matrix()
    true = torch.linalg.eigvalsh(matrix).numpy()
    operator, rng = oracles.DenseOperator(matrix), generator()
    nodes, weights = density([last(lanczos(operator, 50, rng)) for _ in range(10)])
    assert abs(weights.sum() - 1) < 1e-12
    assert (np.diff(nodes) >= 0).all()
    distance = wasserstein(nodes, weights, true, np.full(len(true), 1 / len(true)))
    assert distance < 2e-3 * (true[-1] - true[0])


def test_smoothing_keeps_the_mass_and_counts_agree():
    nodes, weights = np.array([3.0, -1.0, 1.0]), np.array([0.25, 0.5, 0.25])
    grid = np.linspace(-10, 10, 2001)
    assert abs(np.trapezoid(smooth(nodes, weights, grid, 0.2), grid) - 1) < 1e-9
    shares = cumulative(nodes, weights, np.array([-2, -1, 0, 1, 5]))
    np.testing.assert_allclose(shares, [0, 0.5, 0.5, 0.75, 1])
    assert abs(wasserstein(nodes, weights, nodes + 2, weights) - 2) < 1e-12
    with pytest.raises(ValueError, match="width"):
        smooth(nodes, weights, grid, 0.0)


# Measurements


def test_spectrum_of_a_network():
    matrix = hessian_of("conv_net")
    true = torch.linalg.eigvalsh(matrix).numpy()
    partials = list(HessianSpectrum(steps=20, probes=20, vectors=4).measure(*problem("conv_net"), seed=0))
    for partial in partials:
        assert abs(partial.arrays["weights"].sum() - 1) < 1e-12
        assert partial.values["lambda_max"] <= true[-1] + 1e-9
        if partial.values["trace"] is not None:
            assert abs(partial.values["trace"] - true.sum()) < 5 * partial.values["trace_stderr"]
    values, arrays = partials[-1].values, partials[-1].arrays
    assert abs(values["lambda_max"] - true[-1]) <= values["lambda_max_error"]
    assert abs(values["lambda_min"] - true[0]) <= values["lambda_min_error"]
    assert values["num_hvps"] == 100
    assert len(arrays["nodes"]) == 80
    assert len(arrays["eigenvalues"]) == 20
    distance = wasserstein(arrays["nodes"], arrays["weights"], true, np.full(len(true), 1 / len(true)))
    assert distance < 5e-3 * (true[-1] - true[0])  # four start vectors of 20 steps


def test_spectrum_of_fewer_parameters_than_steps_is_exact():
    model, images, labels = problem("one_layer")
    result = last(HessianSpectrum(steps=100, vectors=1).measure(model, images, labels, seed=0))
    assert result.done
    assert result.values["num_hvps"] == 52
    assert abs(result.values["trace"] - float(hessian_of("one_layer").trace())) < 1e-12
    assert result.values["trace_stderr"] == 0


@pytest.mark.parametrize("name", ["conv_net", "residual_net"])
@pytest.mark.parametrize(("group", "sampling"), [(1, "labels"), (4, "signs"), (100, "signs")])
def test_fisher_trace_layer_by_layer(name, group, sampling):
    model, images, labels = problem(name)
    diagonal = fisher_of(name).diagonal()
    blocks = Hessian(model, images, labels).blocks
    result = last(FisherTrace(draws=150, group=group, sampling=sampling).measure(model, images, labels, seed=3))
    error = result.values["fisher_trace_stderr"]
    assert abs(result.values["fisher_trace"] - float(diagonal.sum())) < 4 * error
    layers = list(result.arrays["layers"])
    for k, layer in enumerate(layers):
        true = sum(float(diagonal[where].sum()) for parameter, where in blocks.items()
                   if (parameter.rpartition(".")[0] or "model") == layer)
        error = result.arrays["layer_trace_stderr"][k]
        assert abs(result.arrays["layer_trace"][k] - true) <= 4.5 * error
    assert abs(result.arrays["layer_trace"].sum() - result.values["fisher_trace"]) < 1e-10
    assert result.arrays["layer_size"].sum() == len(diagonal)


@pytest.mark.parametrize("sampling", ["signs", "labels"])
def test_fisher_error_bars_are_honest(sampling):
    model, images, labels = problem("one_layer")
    true, covered = float(fisher_of("one_layer").trace()), 0
    for seed in range(100):
        measurement = FisherTrace(draws=20, group=5, sampling=sampling)
        values = last(measurement.measure(model, images, labels, seed=seed)).values
        covered += abs(values["fisher_trace"] - true) <= 1.96 * values["fisher_trace_stderr"]
    assert covered >= 88


def test_random_residuals_have_the_covariance_of_the_softmax(monkeypatch):
    rows = [[0.1, 0.2, 0.3, 0.4], [0.25] * 4, [0.9, 0.0, 0.1, 0.0], [0.0, 1.0, 0.0, 0.0],
            [1e-30, 1 - 1e-9, 1e-9, 1e-20]]
    patterns = torch.cartesian_prod(*[torch.tensor([0, 1])] * 4)  # all 16 signs, each once
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, generator: patterns)
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-7)):
        for row in rows:
            p = torch.tensor(row, dtype=dtype)
            u = _residuals(p.expand(16, 4), "signs", generator())
            expected = torch.diag(p) - p[:, None] * p[None, :]
            torch.testing.assert_close(u.T @ u / 16, expected, rtol=1e-5, atol=tolerance)


def test_labels_are_drawn_from_the_predictions():
    p = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    u = _residuals(p.expand(20_000, 4), "labels", generator())
    shares = (p - u).mean(0)  # of one-hot labels
    assert shares[1] == 0
    assert (shares - p).abs().max() < 4 * 0.5 / 20_000**0.5


def test_smaller_groups_scatter_less():
    model, images, labels = problem("conv_net")
    errors = [last(FisherTrace(draws=200, group=group).measure(model, images, labels, seed=0)
                   ).values["fisher_trace_stderr"] for group in (1, 11)]
    assert errors[0] < 0.5 * errors[1]


# Bad input


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
def test_bad_input_is_said(kind):
    model, images, labels = problem("conv_net")
    with pytest.raises(ValueError, match="no images"):
        kind(model, images[:0], labels[:0])
    with pytest.raises(ValueError, match="one label"):
        kind(model, images, labels[:3])
    with pytest.raises(ValueError, match="Labels go from 0 to 4, but the model has 4 classes"):
        kind(model, images, torch.arange(11) % 5)
    with pytest.raises(ValueError, match="whole numbers"):
        kind(model, images, labels.double())
    with pytest.raises(ValueError, match=r"Unknown parameters fc.weight. Allowed: conv1.weight"):
        kind(model, images, labels, names=["fc.weight"])
    with pytest.raises(ValueError, match="chunk = 0"):
        kind(model, images, labels, chunk=0)
    with pytest.raises(ValueError, match=r"no parameters"):
        kind(nn.Flatten(), images, labels)
    with pytest.raises(ValueError, match="needs"):
        kind(model, images, labels) @ torch.zeros(3)
    broken = copy.deepcopy(model)
    broken.conv2.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"conv2.weight are not finite.*smaller learning rate"):
        kind(broken, images, labels)
    with pytest.raises(ValueError, match="images are not finite"):
        kind(model, images / 0, labels)
