"""Operators against dense matrices in float64, in any chunks and with little memory."""

from __future__ import annotations

import copy
import doctest

import pytest
import torch
from torch import nn

from analysis.curvature import operators
from analysis.curvature.operators import (
    EmpiricalFisher,
    GaussNewton,
    Hessian,
    SampledFisher,
    Scaled,
)
from ngf.checkpoints.weights import WeightsError
from tests.helpers import cases, oracles
from tests.helpers.oracles import dense, fisher_of, hessian_of, problem
from tests.helpers.streams import generator

CASES = list(cases.CASES)
KINDS = [
    Hessian,
    GaussNewton,
    EmpiricalFisher,
    lambda *a, **k: SampledFisher(*a, generator=generator(5), draws=3, **k),
]
KIND_NAMES = ["hessian", "gauss_newton", "empirical_fisher", "sampled_fisher"]


def test_the_example_proves_itself():
    assert doctest.testmod(operators) == (0, 6)  # failed, attempted


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
        # Now from the cache.
        torch.testing.assert_close(operator @ v, whole, rtol=1e-11, atol=1e-13)
        assert bool(operator._graphs) == (cache_bytes > 0 and (chunk < 10 or cache_bytes > 2**16))


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_the_number_of_cores_changes_nothing(kind):
    model, images, labels = problem("conv_net")
    vectors = torch.randn(3, kind(model, images, labels).size, generator=generator())

    def products() -> torch.Tensor:
        narrow = kind(copy.deepcopy(model).float(), images.float(), labels, chunk=2)
        return torch.stack([narrow @ v for v in vectors])

    alone, before = products(), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(products(), alone)
    finally:
        torch.set_num_threads(before)


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
    # 11, 5, 2 graphs: one more must fit beside those that are kept.
    assert operator.num_halvings == 2
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


def test_fisher_rao_needs_no_cached_graphs():
    operator = GaussNewton(*problem("conv_net"), cache_bytes=0)
    operator @ operator.parameters
    assert not operator._graphs


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
    with pytest.raises(WeightsError, match=r"conv2.weight are not finite") as refused:
        kind(broken, images, labels)
    assert "smaller learning rate" in refused.value.advice
    with pytest.raises(ValueError, match="images are not finite"):
        kind(model, images / 0, labels)
