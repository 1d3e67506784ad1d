"""SAU's losses against numbers worked out by hand, and its attack against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ngf.defenses.contract import Problem
from ngf.defenses.sau import SAU, attack_loss, is_shared, jensen_shannon, shared_loss
from tests.helpers.planted_patch import CLASSES, SIDE, striped
from tests.helpers.purifications import short

# probabilities of five images, all of class 0; f0 is fooled on the last three
NOW = torch.tensor(
    [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]],
    dtype=torch.float64,
)
BEFORE = torch.tensor(
    [[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]],
    dtype=torch.float64,
)
LABELS = torch.zeros(5, dtype=torch.int64)


def js(p: list[float], q: list[float]) -> float:
    middle = [(a + b) / 2 for a, b in zip(p, q)]
    return 0.5 * sum(
        a * math.log(a / m) + b * math.log(b / m) for a, b, m in zip(p, q, middle, strict=True)
    )


def test_what_is_shared():
    assert is_shared(NOW.log(), BEFORE.log(), LABELS).tolist() == [False, False, True, False, False]


def test_the_outer_loss_is_that_of_the_formula():
    wanted = -(math.log(1 - 0.7) + math.log(1 - 0.4) + math.log(1 - 0.1)) / 5
    assert shared_loss(NOW.log(), BEFORE.log(), LABELS).item() == pytest.approx(wanted, rel=1e-12)
    # both halves that the release writes are this
    twice = -(math.log(0.3) + math.log(0.6) + math.log(0.9)) / 5
    assert wanted == pytest.approx(twice, rel=1e-12)
    none = torch.tensor([[9.0, 0.0, 0.0]] * 5).double()
    assert shared_loss(NOW.log(), none, LABELS) == 0
    sure = torch.tensor([[0.0, 400.0, 0.0]]).double().requires_grad_(True)
    loss = shared_loss(sure, BEFORE.log()[2:3], LABELS[:1])
    assert loss.item() == pytest.approx(400 - math.log(2)), "no logarithm of zero"
    assert torch.autograd.grad(loss, sure)[0].isfinite().all()


def test_the_inner_loss_is_that_of_the_formula():
    missed = -0.5 * (math.log(0.7) + math.log(0.6) + math.log(0.8) + math.log(0.5))
    apart = sum(js(NOW[k].tolist(), BEFORE[k].tolist()) for k in (0, 1, 3, 4))
    found = attack_loss(NOW.log(), BEFORE.log(), LABELS, adversarial=0.3, agreement=2.0)
    assert found.item() == pytest.approx((2 * apart - 0.3 * missed) / 5, rel=1e-12)


def test_the_divergence_is_symmetric_and_bounded():
    found = jensen_shannon(NOW.log() + 3, BEFORE.log())
    wanted = [js(p, q) for p, q in zip(NOW.tolist(), BEFORE.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-10)
    assert torch.allclose(found, jensen_shannon(BEFORE.log(), NOW.log()))
    far = torch.tensor([[90.0, 0.0]]).double()
    assert jensen_shannon(far, -far).item() == pytest.approx(math.log(2))


def rows(scales: Tensor) -> nn.Module:
    """Linear in how bright each row is."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, CLASSES, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.diag(scales).repeat_interleave(SIDE, 1))
    return model.eval()


def test_an_attack_fools_both_networks_within_its_box():
    clean = striped(96, seed=2)
    problem = Problem(rows(torch.full((CLASSES,), 2.0)), clean, None)
    shares = []
    for count, size in ((1, 2e-4), (1, 0.2), (5, 0.2)):
        purification = SAU(inner_steps=count, inner_size=size / 2, size=size).purify(problem)
        purification.before = rows(torch.linspace(1.9, 2.1, CLASSES))  # not quite the same
        images = clean.floats()
        examples = purification.attack(images, clean.labels, torch.Generator().manual_seed(1))
        assert (examples - images).abs().max() <= size + 1e-6
        assert examples.min() >= 0 and examples.max() <= 1
        outputs = purification.model(examples), purification.before(examples)
        shares.append(is_shared(*outputs, clean.labels).float().mean().item())
    assert shares[0] == 0 < shares[1] < shares[2] and shares[2] > 0.9


def test_the_network_as_it_came_stays(problem):
    purification = short("sau", lr=0.01).purify(problem)
    events = list(purification)
    for name, value in problem.model.state_dict().items():
        assert torch.equal(purification.before.state_dict()[name], value)
    assert events[0].shared is None and 0 <= events[1].shared <= events[1].fooled <= 1
