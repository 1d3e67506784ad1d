"""Eigenvalues, traces and densities against dense matrices; estimates by their error bars."""

from __future__ import annotations

import copy
import doctest

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator as SciPyOperator
from scipy.sparse.linalg import eigsh
from scipy.stats import t as student
from scipy.stats import wasserstein_distance

from analysis.curvature import krylov
from analysis.curvature.krylov import deflated_trace, density, lanczos
from analysis.curvature.operators import Hessian
from tests.helpers import oracles
from tests.helpers.oracles import hessian_of, problem
from tests.helpers.streams import generator, last


def test_the_example_proves_itself():
    assert doctest.testmod(krylov) == (0, 5)  # failed, attempted


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("one_layer", None),
        ("conv_net", ["conv1.weight"]),
        ("residual_net", ["conv.weight", "unused", "linear.bias"]),
    ],
)
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


def test_scipy_finds_the_same_eigenvalues():
    operator = Hessian(*problem("conv_net"))
    theirs = SciPyOperator(
        (operator.size,) * 2,
        dtype=float,
        matvec=lambda v: (operator @ torch.as_tensor(v.ravel())).numpy(),
    )
    largest = np.sort(
        eigsh(theirs, k=5, which="LA", return_eigenvectors=False, v0=np.ones(operator.size))
    )
    ritz = last(lanczos(operator, 40, generator()))
    np.testing.assert_allclose(ritz.values[-5:], largest, rtol=1e-8)


def test_a_warm_start_saves_products():
    model, images, labels = problem("conv_net")
    top = last(lanczos(Hessian(model, images, labels), 20, generator())).vector(-1)
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.001)
    operator = Hessian(moved, images, labels)

    def products(start) -> int:
        return next(
            len(ritz.values)
            for ritz in lanczos(operator, 30, generator(), start=start)
            if ritz.residuals[-1] < 1e-3 * ritz.values[-1]
        )

    assert products(5 * top) < products(None) / 2
    for wrong in (0 * top, top[1:], top / 0):
        with pytest.raises(ValueError, match="start vector"):
            next(lanczos(operator, 3, generator(), start=wrong))


def test_zero_curvature_is_no_error():
    ritz = last(
        lanczos(oracles.DenseOperator(torch.zeros(7, 7, dtype=torch.float64)), 5, generator())
    )
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


@pytest.mark.parametrize(("steps", "probes"), [(10, 20), (12, 4)])
def test_trace_intervals_cover(steps, probes):
    """Whole and block by block, for 200 seeds, on the spectrum of a network with 1,000
    parameters.
    """
    matrix = oracles.spectrum_like_a_network(1000)
    operator = oracles.DenseOperator(matrix)
    blocks = [slice(0, 30), slice(30, 400), slice(400, 1000)]
    true = np.array(
        [float(matrix.trace())] + [float(matrix.diagonal()[where].sum()) for where in blocks]
    )
    covered, errors = np.zeros(4), []
    for seed in range(200):
        rng = generator(seed)
        ritz = last(lanczos(operator, steps, rng, blocks=blocks))
        trace = last(deflated_trace(operator, ritz, probes, rng, blocks=blocks))
        error = np.array([trace.value, *trace.blocks]) - true
        assert trace.blocks.sum() == pytest.approx(trace.value, rel=1e-9)
        assert (trace.low + trace.high) / 2 == pytest.approx(trace.value)
        half = student.ppf(0.975, probes - 1) * np.array([trace.stderr, *trace.blocks_stderr])
        assert trace.high - trace.value == pytest.approx(half[0])
        covered += np.abs(error) <= half
        errors.append(error)
    assert (covered >= 180).all() and (covered <= 198).all(), covered
    assert (np.abs(np.mean(errors, 0)) < 4 * np.std(errors, 0) / 200**0.5).all()  # unbiased


@pytest.mark.parametrize(
    ("probes", "quantile"),  # of a table, for 1, 2, 3, 9 and 30 degrees of freedom
    [
        (2, 12.7062047361747),
        (3, 4.30265272974946),
        (4, 3.18244630528371),
        (10, 2.26215716279820),
        (31, 2.04227245630124),
    ],
)
def test_intervals_are_those_of_student(probes, quantile):
    operator = oracles.DenseOperator(oracles.spectrum_like_a_network(60))
    known = last(lanczos(operator, 3, generator()))
    trace = last(deflated_trace(operator, known, probes, generator()))
    for half in (trace.high - trace.value, trace.value - trace.low):
        assert half / trace.stderr == pytest.approx(quantile, abs=1e-9)


def test_converged_values_have_the_weight_of_one_eigenvalue():
    matrix = oracles.spectrum_like_a_network(400)
    ritz = last(lanczos(oracles.DenseOperator(matrix), 40, generator()))
    nodes, weights = density([ritz])
    np.testing.assert_array_equal(weights[-3:], 1 / 400)
    assert abs(weights.sum() - 1) < 1e-12
    twice = torch.diag(torch.tensor([9.0] * 200 + [1.0] * 100, dtype=torch.float64))
    nodes, weights = density([last(lanczos(oracles.DenseOperator(twice), 2, generator()))])
    # Many equal ones are not taken for one.
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3], atol=0.1)


@pytest.mark.parametrize(
    "matrix",
    [lambda: oracles.spectrum_like_a_network(600), lambda: hessian_of("conv_net")],
    ids=["synthetic", "conv_net"],
)
def test_density_is_close_to_the_true_one(matrix):
    matrix = matrix()
    true = torch.linalg.eigvalsh(matrix).numpy()
    operator, rng = oracles.DenseOperator(matrix), generator()
    nodes, weights = density([last(lanczos(operator, 50, rng)) for _ in range(10)])
    assert abs(weights.sum() - 1) < 1e-12
    assert (np.diff(nodes) >= 0).all()
    distance = wasserstein_distance(nodes, true, weights)
    assert distance < 2e-3 * (true[-1] - true[0])
