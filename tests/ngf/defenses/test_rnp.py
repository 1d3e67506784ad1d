"""RNP against its formulas, and on a planted backdoor."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from ngf.defenses.contract import Problem
from ngf.defenses.masking import channels
from ngf.defenses.rnp import RNP, Recovery
from ngf.evaluate import accuracy
from tests.helpers import planted as planting
from tests.helpers.purifications import finish

ALPHA, H = 0.3, 1e-6


@pytest.fixture
def planted() -> Problem:
    """The unit wakes for some clean images, which does not change what they are called."""
    return planting.problem(asleep=1.0, push=0.4)


def test_masks_descend_the_loss_on_the_unlearned_network(wide):
    """By finite differences, in float64; the network stays."""
    settings = RNP(alpha=ALPHA, lr=1e-3, momentum=0.0, unlearn_steps=2, unlearn_until=0.0)
    names = ["stage1.block1.bn1", "bn"]
    learner = Recovery(settings, names, wide)
    for step in range(2):
        assert learner.phase == "unlearn"
        learner.advance(torch.Generator().manual_seed(step))
    assert learner.phase == "mask" and learner.left == settings.steps
    with torch.no_grad():
        for mask in learner.masks.values():
            mask.fill_(0.5)
    before = copy.deepcopy(learner.network.state_dict())
    images, labels = learner.batches.draw(torch.Generator().manual_seed(7))
    probe = channels.network(learner.network, "train")

    def loss(name: str, k: int, value: float) -> float:
        masks = {one: mask.detach().clone() for one, mask in learner.masks.items()}
        masks[name][k] = value
        return F.cross_entropy(channels.logits(probe, images, masks), labels).item()

    wanted = {
        (name, k): (loss(name, k, 0.5 + H) - loss(name, k, 0.5 - H)) / (2 * H)
        for name in names
        for k in (1, 6)
    }
    learner.advance(torch.Generator().manual_seed(7))
    for (name, k), slope in wanted.items():
        step = learner.masks[name][k].item() - 0.5
        assert step == pytest.approx(-1e-3 * ALPHA * slope, rel=1e-4, abs=1e-10)
    assert any(abs(slope) > 1e-3 for slope in wanted.values())
    for name, value in learner.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(before["stem.weight"], wide.model.stem.weight), "it has unlearned"


def test_a_planted_backdoor_is_found_and_pruned(planted):
    wanted = planting.triggered(planting.images(200, seed=4))
    assert accuracy(planted.model, wanted) == 1.0
    purification = RNP(lr=1.0, unlearn_lr=0.05, unlearn_until=0.3).purify(planted)
    purification.masks.batches.augmentation = "none"  # a shift would move what the units see
    events = finish(purification)
    masks = purification.masks.masks[planting.NORM]
    assert masks.argmin() == planting.PLANTED and masks[planting.PLANTED] == 0
    assert purification.model[2].weight[planting.PLANTED] == 0
    assert accuracy(purification.model, wanted) < 0.5
    start = accuracy(planted.model, planted.validation)
    assert accuracy(purification.model, planted.validation) >= start - 0.01
    phases = [event.phase for event in events[1:]]
    assert phases == sorted(phases, key=["unlearn", "mask", "prune"].index)
    assert phases.count("mask") == 40
    # what was unlearned is not in the model, but for the pruned weight
    for name, value in planted.model.state_dict().items():
        if name != f"{planting.NORM}.weight":
            assert torch.equal(value, purification.model.state_dict()[name]), name


def test_it_goes_on_to_the_last_bit_where_parts_judge(planted, tmp_path):
    """The parts are done with unlearning at other steps than the whole."""
    own = replace(planted, validation=None)
    begin = partial(
        RNP(steps=3, lr=1.0, unlearn_lr=0.2, batch_size=60, unlearn_until=0.3).purify, own
    )
    whole, spans = begin(), set()
    events = []
    for event in whole:
        events.append(event)
        spans.add(tuple(learner.left for learner in whole.learners))
    assert any(len(set(left)) > 1 for left in spans)
    part = begin()
    for _ in part:
        torch.save(part.state_dict(), tmp_path / "state.pt")
        resumed = begin()
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert [event for event in resumed if event.step > part.step] == events[part.step + 1 :]
        assert resumed.summary() == whole.summary()
        for mask, other in zip(whole.learners, resumed.learners, strict=True):
            assert torch.equal(mask.masks[planting.NORM], other.masks[planting.NORM])
