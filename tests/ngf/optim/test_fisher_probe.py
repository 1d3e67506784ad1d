"""The random gradient behind a Fisher trace, against sums over all labels and all signs."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from ngf.optim import fisher_probe
from ngf.optim.fisher_probe import diagonal, draw_signs, residuals, trace

IMAGES, CLASSES = 2, 3


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(8, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, CLASSES)
    )
    return net.double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(IMAGES, 2, 2, 2, generator=torch.Generator().manual_seed(1)).double()


def by_label(model: nn.Module, image: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    """For each label its probability, and the gradient of its log-probability: the definition."""
    logs = model(image[None]).log_softmax(1)[0]
    parameters = list(model.parameters())
    return [
        (log.exp(), list(torch.autograd.grad(log, parameters, create_graph=True))) for log in logs
    ]


def exact_trace(model: nn.Module, images: Tensor) -> Tensor:
    return sum(
        p * sum(g.square().sum() for g in gradient)
        for image in images
        for p, gradient in by_label(model, image)
    ) / len(images)


def all_signs(images: int = IMAGES) -> list[Tensor]:
    patterns = itertools.product((-1.0, 1.0), repeat=images * CLASSES)
    return [torch.tensor(z, dtype=torch.float64).view(images, CLASSES) for z in patterns]


def test_residuals_have_the_covariance_of_labels():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 80.0]], dtype=torch.float64)
    p = logits.softmax(1)
    found = torch.stack([residuals(logits, signs) for signs in all_signs()])
    covariance = torch.einsum("knc,knd->ncd", found, found) / len(found)
    wanted = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    assert torch.allclose(covariance, wanted, rtol=0, atol=1e-14)
    assert torch.allclose(found.mean(0), torch.zeros_like(p), atol=1e-14)


def test_trace_and_its_gradient_are_those_of_the_definition(model, images):
    """Their means over every pattern of signs there is, which is what an expectation is."""
    parameters = list(model.parameters())
    wanted = exact_trace(model, images)
    steepest = torch.autograd.grad(wanted, parameters)
    every = [trace(model(images), parameters, signs) for signs in all_signs()]
    assert torch.stack(every).mean().item() == pytest.approx(wanted.item(), rel=1e-12)
    assert max(every) > 1.2 * wanted, "no single draw is the trace"
    found = torch.autograd.grad(torch.stack(every).mean(), parameters)
    for mine, exact in zip(found, steepest, strict=True):
        assert torch.allclose(mine, exact, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("group", [1, 2])
def test_the_diagonal_is_that_of_the_definition(model, images, group, monkeypatch):
    """Its mean over every pattern of signs, each in turn."""
    every = all_signs(group)
    turn = itertools.cycle(every)
    monkeypatch.setattr(fisher_probe, "draw_signs", lambda logits, rng: next(turn))
    parameters = list(model.parameters())
    wanted = [torch.zeros_like(parameter) for parameter in parameters]
    for image in images:
        for p, gradient in by_label(model, image):
            for entry, g in zip(wanted, gradient, strict=True):
                entry += (p * g.square()).detach() / len(images)
    rng = torch.Generator()
    found = diagonal(model, parameters, images, rng, draws=len(every), group=group)
    for mine, exact in zip(found, wanted, strict=True):
        assert torch.allclose(mine, exact, rtol=1e-9, atol=1e-14)


def test_signs_are_independent_and_of_mean_zero():
    """Of one another, of other images and of other draws: to within five standard errors."""
    rng, like = torch.Generator().manual_seed(0), torch.zeros(IMAGES, CLASSES, dtype=torch.float64)
    drawn = torch.stack([draw_signs(like, rng).flatten() for _ in range(10_000)])
    pairs = torch.cat([drawn[1:], drawn[:-1]], 1)  # with those of the draw before
    assert pairs.mean(0).abs().max() < 0.05
    together = pairs.T @ pairs / len(pairs)
    assert (together - torch.eye(2 * IMAGES * CLASSES)).abs().max() < 0.05


def test_signs_follow_their_seed_in_every_precision():
    once, again = (
        draw_signs(torch.zeros(4, CLASSES, dtype=kind), torch.Generator().manual_seed(3))
        for kind in (torch.float32, torch.float64)
    )
    assert once.dtype == torch.float32 and torch.equal(once.double(), again)
    assert set(once.flatten().tolist()) == {-1.0, 1.0}


def test_a_sure_network_has_a_finite_gradient():
    """The root of a probability that is 0 has no derivative; its logarithm has one."""
    weight = torch.full((CLASSES, 1), 0.0, dtype=torch.float32)
    weight[0] = 300.0
    weight.requires_grad_(True)
    logits = torch.ones(IMAGES, 1) @ weight.T
    estimate = trace(logits, [weight], torch.ones(IMAGES, CLASSES))
    (gradient,) = torch.autograd.grad(estimate, [weight])
    assert gradient.isfinite().all()
