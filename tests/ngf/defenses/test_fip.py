"""FIP's loss against autograd, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.loop import FineTuning, parameters
from ngf.optim import fisher_probe
from ngf.optim.kfac import split_matrix
from tests.helpers.purifications import short

TRACE, HOLD = 0.05, 3.0


def tensors_of(tuning: FineTuning) -> list[Tensor]:
    return [tensor for layer in tuning.layers.values() for tensor in parameters(layer)]


def split(tuning: FineTuning, matrices: Mapping[str, Tensor]) -> list[Tensor]:
    """Matrices by layer in the shapes of the parameters, in their order."""
    return [
        part
        for name, layer in tuning.layers.items()
        for part in split_matrix(layer, matrices[name])
    ]


def test_each_step_descends_the_whole_loss(wide):
    """CE + eta_F Tr(F) + (eta_r / 2) sum_i F0_ii (theta_i - theta0_i)^2, for one draw of signs."""
    defense = short("fip", eta_trace=TRACE, eta_hold=HOLD, lr=0.05)
    tuning = begin(defense, wide, "all", defense.rate)
    tensors = tensors_of(tuning)
    start = [tensor.detach().clone() for tensor in tensors]
    clean = split(tuning, tuning.rule.diagonal)
    direction, pulls = tuning.rule.direction, []

    def watched(batch, rate, step):
        rng = torch.Generator()
        rng.set_state(batch.rng.get_state())
        found = direction(batch, rate, step)
        trace = fisher_probe.trace(
            batch.logits, tensors, fisher_probe.draw_signs(batch.logits, rng)
        )
        pull = sum(
            (weight * (now - then).square()).sum()
            for weight, now, then in zip(clean, tensors, start, strict=True)
        )
        loss = F.cross_entropy(batch.logits, batch.labels) + TRACE * trace + HOLD / 2 * pull
        steepest = torch.autograd.grad(loss, tensors, retain_graph=True)
        for mine, wanted in zip(split(tuning, found.matrices), steepest, strict=True):
            assert torch.allclose(mine, wanted, rtol=1e-8, atol=1e-11)
        assert found.fisher_trace == pytest.approx(trace.item())
        pulls.append(pull.item())
        return found

    tuning.rule.direction = watched
    list(tuning)
    assert pulls[0] == 0 < pulls[1] < pulls[2]


def test_the_clean_diagonal_sums_to_the_fisher_trace(wide):
    """Of the model as it came, in eval mode, over labels and images one by one."""
    few = wide.clean.take(slice(0, 20))
    tuning = begin(short("fip"), type(wide)(wide.model, few, None, 0), "all", 0.05)
    tensors, exact = tensors_of(tuning), 0.0
    model = tuning.model.eval()
    for image in few.images.double() / 255:
        for log in model(image[None]).log_softmax(1)[0]:
            found = torch.autograd.grad(log, tensors, retain_graph=True)
            exact += log.exp().item() * sum(g.square().sum().item() for g in found) / 20
    estimate = sum(part.sum().item() for part in split(tuning, tuning.rule.diagonal))
    assert estimate == pytest.approx(exact, rel=0.25)
    assert all((part >= 0).all() for part in tuning.rule.diagonal.values())


def test_a_large_weight_of_the_trace_lowers_it(problem):
    last = {}
    for eta in (1e-9, 0.03):
        defense = short("fip", steps=12, lr=0.02, eta_trace=eta, eta_hold=0.0, batch_norm="eval")
        tuning = begin(defense, problem, "all", defense.rate)
        traces = [step.fisher_trace for step in tuning]
        last[eta] = sum(traces[-3:])
    assert last[0.03] < 0.5 * last[1e-9]


def test_without_its_terms_it_is_plain_fine_tuning(problem):
    ours = begin(short("fip", eta_trace=0.0, eta_hold=0.0, lr=0.1), problem, "all", 0.1)
    plain = begin(short("sgd", lr=0.1), problem, "all", 0.1)
    assert [step.loss for step in ours] == [step.loss for step in plain]
    for name, value in plain.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], value), name
