"""What NGF promises besides the contract."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ngf.data.images import to_float
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.loop import Batch, gradient_matrices
from ngf.defenses.fine_tuning.trust_region import Taken
from tests.helpers.purifications import finish, short


def test_the_trust_region_bounds_every_step(problem):
    wide, tight = (
        finish(short("ngf", layer="last", trust_region=radius, largest_change=10.0).purify(problem))
        for radius in (100.0, 1e-4)
    )
    assert max(step.kl for step in wide[2:]) > 1e-3
    assert all(0 < step.kl <= step.radius <= 1e-4 for step in tight[2:])


def test_the_regularizer_holds_the_weights_back(problem):
    free, held = (
        finish(
            short("ngf", layer="stem", regularizer=eta, trust_region=1e-3, steps=12).purify(problem)
        )[-1].distance
        for eta in (0.0, 1000.0)
    )
    assert held < 0.8 * free


def test_the_diagonal_of_the_last_layer_is_exact(problem):
    """Labels summed out, image by image, against autograd."""
    few = replace(problem, clean=problem.clean.take(slice(0, 20)))
    defense = short("ngf", layer="last", batch_norm="eval", regularizer=1.0)
    tuning = begin(defense, few, "last", defense.rate)
    model, layer = tuning.model, {"linear": tuning.model.linear}
    expected = 0.0
    for image in to_float(few.clean.images):
        logs = model(image[None]).log_softmax(1)[0]
        for log in logs:
            gradient = gradient_matrices(log, layer)["linear"]
            expected = expected + log.exp().detach() * gradient.square() / 20
    assert torch.allclose(tuning.rule.diagonal["linear"], expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("reduced", "start", "end"),
    [
        (1.0, 0.004, 0.0038),
        (1.0, 0.001, 0.001),  # the floor
        (0.5, 0.004, 0.004),
        (0.1, 0.0038, 0.004),
        (-1, 0.0038, 0.004),
    ],
)
def test_damping_follows_the_reduction_that_was_foretold(reduced, start, end, problem):
    """Foretold: 0.2 * g.v - KL - damping / 2 * |0.2 v|^2 with g.v = |v|^2 = 1."""
    defense = short("ngf", layer="last", batch_norm="eval", damping=0.001)
    rule = begin(defense, problem, "last", defense.rate).rule
    rule.damping = start
    v = torch.zeros(12, 65)
    v[0, 0] = 1.0
    logits, labels = torch.zeros(4, 12), torch.zeros(4, dtype=torch.int64)
    foretold = 0.2 - 0.1 - start / 2 * 0.04
    after = logits.clone()
    loss = F.cross_entropy(logits, labels) + reduced * foretold
    batch = Batch(loss, logits, labels, None, {"linear": v}, torch.Generator(), None, None)
    rule.learn(batch, {"linear": v}, Taken(0.2, 0.1, after))
    assert rule.damping == pytest.approx(end)
    rule.learn(batch, {"linear": v}, Taken(0.2, 0.3, after))  # beyond the least of the parabola
    assert rule.damping == pytest.approx(end)


def test_damping_stays_where_it_is_told_to(problem):
    events = finish(short("ngf", layer="stem", adaptive=False, damping=0.02).purify(problem))
    assert [step.damping for step in events if getattr(step, "damping", None)] == [0.02] * 3
