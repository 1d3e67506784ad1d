"""ANP against its formula, by finite differences in float64, and on a planted backdoor."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ngf import models
from ngf.defenses.anp import ANP, Adversary
from ngf.defenses.contract import Problem
from ngf.defenses.masking import channels
from ngf.evaluate import accuracy
from ngf.models import flow
from tests.helpers import planted as planting
from tests.helpers.purifications import finish, short

EPS, ALPHA, H = 0.4, 0.3, 1e-6


@pytest.fixture
def adversary(wide) -> Adversary:
    settings = short("anp", eps=EPS, alpha=ALPHA, lr=1e-3, momentum=0.0)
    names = channels.norms(flow(wide.model, torch.rand(2, 3, 32, 32).double()), "ANP")
    learner = Adversary(settings, channels.network(wide.model, "train"), names, wide)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():  # away from both ends
        for mask in learner.masks.values():
            mask.copy_(0.3 + 0.4 * torch.rand(mask.shape, generator=rng))
    return learner


@pytest.fixture
def shown(adversary):
    return adversary.batches.draw(torch.Generator().manual_seed(2))


def drawn(adversary: Adversary, rng: torch.Generator):
    """Noise on weights, then on biases, before its step."""
    return [
        {
            name: (EPS * (2 * torch.rand(mask.shape, generator=rng) - 1)).double()
            for name, mask in adversary.masks.items()
        }
        for _ in range(2)
    ]


def slope(loss, values: torch.Tensor, k: int) -> float:
    """Central difference along one entry of `values`, which is put back."""
    with torch.no_grad():
        before, found = values[k].item(), []
        for side in (H, -H):
            values[k] = before + side
            found.append(loss().item())
        values[k] = before
    return (found[0] - found[1]) / (2 * H)


def test_the_loss_is_that_of_the_network_with_these_weights_and_biases(adversary, shown, wide):
    images, labels = shown
    noise = drawn(adversary, torch.Generator().manual_seed(3))
    by_hand = channels.network(wide.model, "train")
    with torch.no_grad():
        for name, mask in adversary.masks.items():
            norm = by_hand.get_submodule(name)
            norm.weight.mul_(mask + noise[0][name])
            norm.bias.add_(0.5).mul_(1 + noise[1][name])
            adversary.network.get_submodule(name).bias.add_(0.5)  # they are 0 in a new network
    wanted = F.cross_entropy(by_hand(images), labels)
    assert adversary.loss(images, labels, *noise).item() == pytest.approx(wanted.item(), rel=1e-12)


def test_the_disturbance_climbs_by_the_sign_of_the_slope(adversary, shown):
    images, labels = shown
    for name in adversary.masks:
        adversary.network.get_submodule(name).bias.add_(0.5)
    before = drawn(adversary, torch.Generator().manual_seed(3))
    after = adversary.disturbance(images, labels, torch.Generator().manual_seed(3))
    for kind in range(2):
        for name in ("stage1.block1.bn1", "stage2.block1.bn2", "bn"):
            slopes = [
                slope(lambda: adversary.loss(images, labels, *before), before[kind][name], k)
                for k in (5, 11)
            ]
            steps = after[kind][name] - before[kind][name]
            for k, found in zip((5, 11), slopes, strict=True):
                assert abs(found) > 1e-7, "or its sign says nothing"
                assert steps[k].item() == pytest.approx(EPS * (1 if found > 0 else -1)), (name, k)
    assert any((noise.abs() > EPS).any() for noise in after[0].values()), "it is not projected"


def test_masks_descend_the_mixed_loss(adversary):
    """One step without momentum is -lr times the slope of both losses, with the noise held."""
    images, labels = adversary.batches.draw(torch.Generator().manual_seed(4))
    rng = torch.Generator().manual_seed(4)
    adversary.batches.draw(rng)
    noise = adversary.disturbance(images, labels, rng)

    def mixed():
        clean = adversary.loss(images, labels)
        return ALPHA * clean + (1 - ALPHA) * adversary.loss(images, labels, *noise)

    before = {name: mask.detach().clone() for name, mask in adversary.masks.items()}
    wanted = {
        (name, k): slope(mixed, adversary.masks[name].data, k)
        for name in ("stage1.block1.bn1", "stage3.block1.bn1", "bn")
        for k in (7, 13)
    }
    adversary.advance(torch.Generator().manual_seed(4))
    for (name, k), found in wanted.items():
        step = (adversary.masks[name][k] - before[name][k]).item()
        assert step == pytest.approx(-1e-3 * found, rel=1e-4, abs=1e-10), (name, k)
    assert any(abs(found) > 1e-3 for found in wanted.values())


def test_statistics_of_batch_norm_stay(problem):
    purification = short("anp", threshold=0.5).purify(problem)
    finish(purification)
    for name, value in problem.model.named_buffers():
        assert torch.equal(dict(purification.model.named_buffers())[name], value), name


# ---- a backdoor in one channel


@pytest.fixture
def planted() -> Problem:
    """The unit sleeps for every clean image, and sends what wakes it to the target."""
    return planting.problem(asleep=2.0, push=20.0)


def test_a_planted_backdoor_is_found_and_pruned(planted):
    wanted = planting.triggered(planting.images(200, seed=4))
    assert accuracy(planted.model, wanted) == 1.0
    start = accuracy(planted.model, planted.validation)
    purification = ANP(steps=30).purify(planted)
    purification.masks.batches.augmentation = "none"  # a shift would move what the units see
    finish(purification)
    masks = purification.masks.masks[planting.NORM]
    assert masks.argmin() == planting.PLANTED and masks[planting.PLANTED] == 0
    assert purification.model[2].weight[planting.PLANTED] == 0
    assert accuracy(purification.model, wanted) < 0.5
    assert accuracy(purification.model, planted.validation) >= start - 0.01


def test_it_goes_on_to_the_last_bit_where_parts_judge(planted, tmp_path):
    own = replace(planted, validation=None)
    defense = ANP(steps=4, lr=1.0, batch_size=50)
    whole = defense.purify(own)
    events = finish(whole)
    assert len(whole.learners) == 3
    part = defense.purify(own)
    for _ in part:
        torch.save(part.state_dict(), tmp_path / "state.pt")
        resumed = defense.purify(own)
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        left = [event for event in resumed if event.step > part.step]
        assert left == events[part.step + 1 :]
        assert resumed.summary() == whole.summary()
        for mask, other in zip(whole.learners, resumed.learners, strict=True):
            assert torch.equal(mask.masks[planting.NORM], other.masks[planting.NORM])


def test_a_transformer_has_masks_on_its_layer_norms(problem):
    torch.manual_seed(0)
    vit = replace(problem, model=models.build("vit_tiny", 12).eval())
    purification = short("anp", steps=1, threshold=0.5).purify(vit)
    assert list(purification.masks.masks)[:2] == ["block1.norm1", "block1.norm2"]
