"""The hyper-gradient against a dense solve and against finite differences, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.defenses.unlearning.hyper_gradient import hyper_gradient

PENALTY = 0.3  # makes the inner problem convex, which cross-entropy to be raised is not
STEP = 1.0


@pytest.fixture
def small() -> tuple[nn.Module, Tensor, Tensor]:
    """A smooth network of 6 inputs, with images and labels."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return model, torch.randn(8, 6).double(), torch.arange(8) % 3


def inner_of(model: nn.Module, images: Tensor, labels: Tensor, change: Tensor) -> Tensor:
    return PENALTY * change.square().sum() - F.cross_entropy(model(images + change), labels)


def outer_of(model: nn.Module, images: Tensor, labels: Tensor, change: Tensor) -> Tensor:
    return F.cross_entropy(model(images + change), labels)


def minimum(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    change = torch.zeros(6).double()
    for _ in range(400):
        change.requires_grad_(True)
        (slope,) = torch.autograd.grad(inner_of(model, images, labels, change), change)
        change = (change - STEP * slope).detach()
    assert slope.norm() < 1e-12
    return change.requires_grad_(True)


def found(small, change: Tensor, iterations: int) -> Tensor:
    (slope,) = torch.autograd.grad(inner_of(*small, change), change, create_graph=True)
    weights = list(small[0].parameters())
    mapped = change - STEP * slope
    return flat(
        hyper_gradient(outer_of(*small, change), mapped, change, weights, iterations=iterations)
    )


def flat(gradients) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def matrices(small, change: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """grad_u outer, grad_v outer, H (6, 6), and d/du grad_v inner (6, weights), row by row."""
    weights = list(small[0].parameters())
    direct = torch.autograd.grad(outer_of(*small, change), [change, *weights])
    (slope,) = torch.autograd.grad(inner_of(*small, change), change, create_graph=True)
    rows = [
        torch.autograd.grad(entry, [change, *weights], retain_graph=True, materialize_grads=True)
        for entry in slope
    ]
    second = torch.stack([row[0] for row in rows])
    return flat(direct[1:]), direct[0], second, torch.stack([flat(row[1:]) for row in rows])


def test_it_is_that_of_a_dense_solve(small):
    change = minimum(*small)
    direct, slope, second, mixed = matrices(small, change)
    eigenvalues = torch.linalg.eigvalsh(STEP * second)
    assert eigenvalues.min() > 0 and eigenvalues.max() < 2
    wanted = direct - mixed.T @ torch.linalg.solve(second, slope)
    assert torch.allclose(found(small, change, 300), wanted, rtol=1e-10, atol=1e-14)
    assert (wanted - direct).norm() > 0.01 * direct.norm(), "the answer matters"


def test_a_few_iterations_are_a_sum_of_powers(small):
    change = minimum(*small)
    direct, slope, second, mixed = matrices(small, change)
    power = torch.eye(6).double() - STEP * second
    summed = sum(torch.linalg.matrix_power(power, k) @ slope for k in range(3))
    wanted = direct - STEP * mixed.T @ summed
    assert torch.allclose(found(small, change, 3), wanted, rtol=1e-12, atol=1e-15)
    assert torch.allclose(found(small, change, 0), direct, rtol=1e-12, atol=1e-15)


def test_it_agrees_with_finite_differences_of_the_whole_problem(small):
    """The inner problem solved anew at either side."""
    model, images, labels = small
    along = found(small, minimum(*small), 300)
    along /= along.norm()
    parameters, values = list(model.parameters()), []
    start = nn.utils.parameters_to_vector(parameters).detach()
    for length in (1e-5, -1e-5):
        nn.utils.vector_to_parameters(start + length * along, parameters)
        change = minimum(model, images, labels)
        values.append(outer_of(model, images, labels, change).item())
    nn.utils.vector_to_parameters(start, parameters)
    slope = (values[0] - values[1]) / 2e-5
    assert slope == pytest.approx((found(small, minimum(*small), 300) @ along).item(), rel=1e-7)
