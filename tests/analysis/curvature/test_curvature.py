"""Curvature against dense matrices in float64; estimators by their error bars; the model
stays as it was.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator as SciPyOperator
from scipy.sparse.linalg import eigsh
from scipy.stats import t as student_distribution
from torch import nn

from analysis.curvature.density import cumulative, smooth, wasserstein
from analysis.curvature.fisher import residuals
from analysis.curvature.intervals import student
from analysis.curvature.krylov import deflated_trace, density, lanczos
from analysis.curvature.krylov_pass import krylov_pass
from analysis.curvature.last_layer import LastLayer, LastLayerFisher
from analysis.curvature.operators import (
    EmpiricalFisher,
    GaussNewton,
    Hessian,
    SampledFisher,
    Scaled,
)
from analysis.measurements.fisher_trace import FisherTrace
from analysis.measurements.hessian_spectrum import HessianSpectrum
from tests.helpers import cases, oracles
from tests.helpers.oracles import fisher_of, hessian_of, problem

pytestmark = pytest.mark.usefixtures("one_thread")

CASES = list(cases.CASES)
KINDS = [
    Hessian,
    GaussNewton,
    EmpiricalFisher,
    lambda *a, **k: SampledFisher(*a, generator=generator(5), draws=3, **k),
]
KIND_NAMES = ["hessian", "gauss_newton", "empirical_fisher", "sampled_fisher"]


def dense(operator) -> torch.Tensor:
    """All columns of an operator: (P, P)."""
    return torch.stack(
        [operator @ unit for unit in torch.eye(operator.size, dtype=operator.dtype)], 1
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last(iterator):
    *_, item = iterator
    return item


# Operators


@pytest.mark.parametrize("name", CASES)
def test_hessian_is_the_matrix_of_second_derivatives(name):
    torch.testing.assert_close(
        dense(Hessian(*problem(name))), hessian_of(name), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("name", CASES)
def test_gauss_newton_is_the_true_fisher_matrix(name):
    torch.testing.assert_close(
        dense(GaussNewton(*problem(name))), fisher_of(name), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("name", CASES)
def test_fishers_from_labels_are_means_of_outer_products(name):
    model, images, labels = problem(name)
    empirical = oracles.dense_outer_products(model, images, labels[:, None])
    torch.testing.assert_close(
        dense(EmpiricalFisher(model, images, labels)), empirical, rtol=1e-9, atol=1e-11
    )
    sampled = SampledFisher(model, images, labels, generator=generator(2), draws=3)
    expected = oracles.dense_outer_products(model, images, sampled._labels)
    torch.testing.assert_close(dense(sampled), expected, rtol=1e-9, atol=1e-11)


def test_sampled_fisher_tends_to_the_true_one():
    model, images, labels = problem("one_layer")
    errors = [
        (
            dense(SampledFisher(model, images, labels, generator=generator(), draws=draws))
            - fisher_of("one_layer")
        ).norm()
        / fisher_of("one_layer").norm()
        for draws in (10, 4000)
    ]
    assert errors[1] < 0.05
    assert 0.02 < errors[1] / errors[0] < 0.2  # 1/20 expected


def test_scaled_is_a_product_of_three_matrices():
    operator = Hessian(*problem("conv_net"))
    d = torch.randn(operator.size, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(dense(Scaled(operator, d)), d[:, None] * hessian_of("conv_net") * d)
    with pytest.raises(ValueError, match="diagonal has shape"):
        Scaled(operator, d[1:])


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


@pytest.mark.filterwarnings("ignore")
def test_curvlinops_agrees():
    import curvlinops

    model, images, labels = copy.deepcopy(problem("conv_net")[0]).eval(), *problem("conv_net")[1:]
    v = torch.randn(hessian_of("conv_net").shape[0], generator=generator(), dtype=torch.float64)
    for ours, theirs in (
        (Hessian, curvlinops.HessianLinearOperator),
        (GaussNewton, curvlinops.GGNLinearOperator),
        (EmpiricalFisher, curvlinops.EFLinearOperator),
    ):
        other = theirs(
            model,
            nn.CrossEntropyLoss(),
            list(model.parameters()),
            [(images, labels)],
            check_deterministic=False,
        )
        torch.testing.assert_close(
            ours(model, images, labels, chunk=4) @ v, other @ v, rtol=1e-9, atol=1e-11
        )


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


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
@pytest.mark.parametrize("chunk", [1, 4, 10, 11, 1000])
def test_chunks_and_cache_change_nothing(kind, chunk):
    model, images, labels = problem("conv_net")
    v = torch.randn(kind(model, images, labels).size, generator=generator(), dtype=torch.float64)
    whole = kind(model, images, labels, chunk=11) @ v
    for cache_bytes in (0, 2**16, 2**30):
        operator = kind(model, images, labels, chunk=chunk, cache_bytes=cache_bytes)
        torch.testing.assert_close(operator @ v, whole, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(
            operator @ v, whole, rtol=1e-11, atol=1e-13
        )  # now from the cache
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
    per_chunk = operator._graph_bytes
    tight = Hessian(model, images, labels, chunk=2, cache_bytes=int(3.5 * per_chunk))
    tight @ torch.zeros(operator.size)
    assert len(tight._graphs) == 3


class ShortOfMemory(Hessian):
    """A Hessian on a machine where only so many graphs fit, and only of so many images."""

    def __init__(self, *arguments, graphs: int, images: int, error: Exception, **options) -> None:
        super().__init__(*arguments, **options)
        self.allowed, self.largest, self.error = graphs, images, error

    def _graph(self, images, labels):
        if len(self._graphs) >= self.allowed or len(images) > self.largest:
            raise self.error
        return super()._graph(images, labels)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
    RuntimeError("could not create a primitive"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["gpu", "python", "cpu", "onednn"])
def test_less_memory_gives_the_same_numbers(error):
    model, images, labels = problem("conv_net")
    v = torch.randn(hessian_of("conv_net").shape[0], generator=generator(), dtype=torch.float64)
    operator = ShortOfMemory(model, images, labels, graphs=3, images=99, error=error, chunk=1)
    before = operator.cache_bytes
    for _ in range(2):
        torch.testing.assert_close(operator @ v, hessian_of("conv_net") @ v, rtol=1e-9, atol=1e-11)
    assert (
        operator.num_halvings == 2
    )  # 11, 5, 2 graphs: one more must fit beside those that are kept
    assert operator.cache_bytes < before
    assert "Memory ran out 2 times" in operator.note
    assert len(operator._graphs) == 2
    smaller = ShortOfMemory(model, images, labels, graphs=1, images=3, error=error, chunk=8)
    torch.testing.assert_close(smaller @ v, hessian_of("conv_net") @ v, rtol=1e-9, atol=1e-11)
    assert smaller.chunk == 2


def test_too_little_memory_for_one_image_is_said():
    model, images, labels = problem("conv_net")
    operator = ShortOfMemory(model, images, labels, graphs=9, images=0, error=OUT_OF_MEMORY[0])
    with pytest.raises(
        MemoryError, match="A single image does not fit in memory. Measure fewer layers"
    ):
        operator @ torch.zeros(operator.size)
    other = ShortOfMemory(
        model, images, labels, graphs=0, images=0, error=RuntimeError("shapes differ")
    )
    with pytest.raises(RuntimeError, match="shapes differ"):
        other @ torch.zeros(other.size)


def test_parameters_that_play_no_part_have_no_curvature():
    model, images, labels = problem("residual_net")
    for kind in KINDS:
        assert not dense(kind(model, images, labels, names=["unused"])).any()


# Krylov


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
        half = student(probes - 1) * np.array([trace.stderr, *trace.blocks_stderr])
        assert trace.high - trace.value == pytest.approx(half[0])
        covered += np.abs(error) <= half
        errors.append(error)
    assert (covered >= 180).all() and (covered <= 198).all(), covered
    assert (np.abs(np.mean(errors, 0)) < 4 * np.std(errors, 0) / 200**0.5).all()  # unbiased


def test_quantiles_are_those_of_student():
    for degrees in (1, 2, 3, 4, 9, 10, 500):
        assert student(degrees) == pytest.approx(
            student_distribution.ppf(0.975, degrees), rel=1e-10
        )
        assert student(degrees, 0.5) == pytest.approx(
            student_distribution.ppf(0.75, degrees), rel=1e-10
        )
    with pytest.raises(ValueError, match="degrees = 0"):
        student(0)


@pytest.mark.parametrize("name", CASES)
def test_layer_traces(name):
    model, images, labels = problem(name)
    operator, diagonal = Hessian(model, images, labels), hessian_of(name).diagonal()
    steps = 52 if name == "one_layer" else 15  # all of them: exact
    *_, known = krylov_pass(operator, generator(1), steps=steps, probes=60)
    arrays = known.arrays()
    assert list(arrays["layers"]) == list(
        dict.fromkeys(key.rpartition(".")[0] or "model" for key, _ in model.named_parameters())
    )
    for k, layer in enumerate(arrays["layers"]):
        true = sum(
            float(diagonal[where].sum())
            for key, where in operator.blocks.items()
            if (key.rpartition(".")[0] or "model") == layer
        )
        assert abs(arrays["layer_trace"][k] - true) <= 4 * arrays["layer_trace_stderr"][k] + 1e-9
    assert arrays["layer_trace_stderr"].any() == (name != "one_layer")
    assert arrays["layer_size"].sum() == operator.size
    assert arrays["layer_trace"].sum() == pytest.approx(known.trace.value)


def test_layers_must_not_be_torn_apart():
    model, images, labels = problem("conv_net")
    operator = Hessian(model, images, labels, names=["conv1.weight", "bn1.weight", "conv1.bias"])
    with pytest.raises(ValueError, match="The parameters of conv1 are not next to each other"):
        next(krylov_pass(operator, generator(), steps=3, probes=2))


def test_converged_values_have_the_weight_of_one_eigenvalue():
    matrix = oracles.spectrum_like_a_network(400)
    ritz = last(lanczos(oracles.DenseOperator(matrix), 40, generator()))
    nodes, weights = density([ritz])
    np.testing.assert_array_equal(weights[-3:], 1 / 400)
    assert abs(weights.sum() - 1) < 1e-12
    twice = torch.diag(torch.tensor([9.0] * 200 + [1.0] * 100, dtype=torch.float64))
    nodes, weights = density([last(lanczos(oracles.DenseOperator(twice), 2, generator()))])
    np.testing.assert_allclose(
        weights, [1 / 3, 2 / 3], atol=0.1
    )  # many equal ones are not taken for one


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
    partials = list(
        HessianSpectrum(steps=20, probes=20, vectors=4).measure(*problem("conv_net"), seed=0)
    )
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
    distance = wasserstein(
        arrays["nodes"], arrays["weights"], true, np.full(len(true), 1 / len(true))
    )
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
    result = last(
        FisherTrace(draws=150, group=group, sampling=sampling).measure(
            model, images, labels, seed=3
        )
    )
    error = result.values["fisher_trace_stderr"]
    assert abs(result.values["fisher_trace"] - float(diagonal.sum())) < 4 * error
    layers = list(result.arrays["layers"])
    for k, layer in enumerate(layers):
        true = sum(
            float(diagonal[where].sum())
            for parameter, where in blocks.items()
            if (parameter.rpartition(".")[0] or "model") == layer
        )
        error = result.arrays["layer_trace_stderr"][k]
        assert abs(result.arrays["layer_trace"][k] - true) <= 4.5 * error
    assert abs(result.arrays["layer_trace"].sum() - result.values["fisher_trace"]) < 1e-10
    assert result.arrays["layer_size"].sum() == len(diagonal)


@pytest.mark.parametrize("sampling", ["signs", "labels"])
def test_fisher_error_bars_are_honest(sampling):
    model, images, labels = problem("one_layer")
    true, covered = float(fisher_of("one_layer").trace()), 0
    for seed in range(200):
        measurement = FisherTrace(draws=12, group=5, sampling=sampling, empirical=False)
        values = last(measurement.measure(model, images, labels, seed=seed)).values
        covered += values["fisher_trace_low"] <= true <= values["fisher_trace_high"]
    assert 180 <= covered <= 198


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


def test_smaller_groups_scatter_less():
    model, images, labels = problem("conv_net")
    errors = [
        last(FisherTrace(draws=200, group=group).measure(model, images, labels, seed=0)).values[
            "fisher_trace_stderr"
        ]
        for group in (1, 11)
    ]
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


def test_batch_norm_without_statistics_is_refused():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )
    with pytest.raises(
        ValueError, match=r"BatchNorm 1 keeps no running statistics.*track_running_stats=True"
    ):
        next(
            HessianSpectrum().measure(
                net, torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64), seed=0
            )
        )
