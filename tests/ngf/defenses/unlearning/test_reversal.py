"""Reversed triggers: the search against one written out, its costs, and what stands out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf.defenses.unlearning import reversal
from ngf.defenses.unlearning.reversal import Reversal, Triggers, anomaly, reverse
from tests.helpers.planted_patch import CLASSES, SIDE, TARGET, planted, striped

SHAPE = (1, SIDE, SIDE)


@pytest.fixture
def wide() -> nn.Module:
    return planted(backdoor=True).double().requires_grad_(False)


@pytest.fixture
def batches():
    clean = striped(64, seed=5)
    images = (clean.images.double() / 255).split(16)
    return list(zip(images, clean.labels.split(16), strict=True))


def begun(classes: int = CLASSES) -> Reversal:
    return Reversal(classes, SHAPE, torch.zeros(1).double())


def test_a_class_is_searched_as_if_it_were_alone(wide, batches):
    """torch's Adam on one class, its own images left out."""
    search = begun()
    a, b = torch.zeros(1, SIDE, SIDE).double(), torch.zeros(1, SIDE, SIDE).double()
    adam = torch.optim.Adam([a, b], 0.1, betas=(0.5, 0.9))
    for images, labels in batches:
        told = search.advance(wide, images, labels)
        a.requires_grad_(True), b.requires_grad_(True)
        mask, pattern = (1 + a.tanh()) / 2, (1 + b.tanh()) / 2
        others = images[labels != TARGET]
        logits = wide((1 - mask) * others + mask * pattern)
        wanted = torch.full((len(others),), TARGET)
        loss = F.cross_entropy(logits, wanted) + 1e-3 * mask.sum()
        a.grad, b.grad = torch.autograd.grad(loss, [a, b])
        a.requires_grad_(False), b.requires_grad_(False)
        adam.step()
    assert torch.allclose(search.raw_masks[TARGET], a, rtol=1e-9, atol=1e-12)
    assert torch.allclose(search.raw_patterns[TARGET], b, rtol=1e-9, atol=1e-12)
    assert 0 < told < 1


def test_how_many_classes_go_at_once_changes_nothing(wide, batches, monkeypatch):
    found = []
    for at_once in (1, 10_000):
        monkeypatch.setattr(reversal, "_AT_ONCE", at_once)
        search = begun()
        for images, labels in batches * 3:
            search.advance(wide, images, labels)
        found.append(search)
    assert torch.allclose(found[0].masks, found[1].masks, rtol=1e-10, atol=1e-14)
    assert torch.equal(found[0].found["cost"], found[1].found["cost"])


class Constant(nn.Module):
    """Calls every image class 0."""

    def forward(self, images):
        return images.flatten(1).sum(1, keepdim=True) * 0 + torch.tensor([[9.0, 0.0, 0.0]]).double()


def test_the_cost_rises_with_success_and_falls_without(batches):
    search = begun(3)
    images, labels = batches[0]
    for step in range(1, 51):
        search.advance(Constant(), images, labels % 3)
        cost = search.found["cost"].tolist()
        rounds = step // 25  # five rounds of five steps
        assert cost == pytest.approx([1e-3 * 2**rounds] + [1e-3 / 2 ** (1.5 * rounds)] * 2)
    assert search.triggers().success.tolist() == [1.0, 0.0, 0.0]
    assert torch.equal(search.triggers().masks[1:], search.masks[1:]), "none of them is kept"


def test_a_class_is_done_when_its_mask_stays(batches):
    search = begun(3)
    images, labels = batches[0]
    for name in ("raised", "lowered", "kept"):
        search.found[name][0] = True
    search.found["mark"][0] = 0.0  # no mask is smaller
    for _ in range(24 * 5):
        search.advance(Constant(), images, labels % 3)
    assert not search.done.any()
    for _ in range(5):
        search.advance(Constant(), images, labels % 3)
    assert search.done.tolist() == [True, False, False]
    kept = search.triggers().masks[0].clone()
    for _ in range(5):
        search.advance(Constant(), images, labels % 3)
    assert torch.equal(search.triggers().masks[0], kept)


def test_a_search_goes_on_to_the_last_bit(wide, batches, tmp_path):
    whole, part = begun(), begun()
    for images, labels in batches * 4:
        whole.advance(wide, images, labels)
    for images, labels in batches * 2:
        part.advance(wide, images, labels)
    torch.save(part.state_dict(), tmp_path / "state.pt")
    resumed = begun()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for images, labels in batches * 2:
        resumed.advance(wide, images, labels)
    assert torch.equal(whole.raw_masks, resumed.raw_masks)
    for name, value in whole.found.items():
        assert torch.equal(value, resumed.found[name]), name
    assert torch.equal(whole.triggers().masks, resumed.triggers().masks)


@pytest.mark.parametrize("backdoor", [True, False])
def test_a_planted_pixel_is_found_and_nothing_else(backdoor):
    clean = striped(160, seed=2)
    found = reverse(planted(backdoor=backdoor), clean, CLASSES, seed=0)
    assert found.masks.shape == (CLASSES, 1, SIDE, SIDE)
    assert found.patterns.shape == (CLASSES, 1, SIDE, SIDE)
    assert (found.success >= 0.98).all()
    index = anomaly(found.sizes)
    assert (index > 2).nonzero().flatten().tolist() == ([TARGET] if backdoor else [])
    if backdoor:
        assert index[TARGET] > 3
        mask = found.masks[TARGET, 0]
        assert mask.argmax() == SIDE * SIDE - 1 and mask[-1, -1] > 0.9 * mask.sum()
        model, images = planted(backdoor=True), clean.floats()
        stamped = found.applied(images, torch.full((len(images),), TARGET))
        assert (model(stamped).argmax(1) == TARGET).float().mean() > 0.95


def test_the_index_is_the_distance_in_median_distances():
    sizes = torch.tensor([100.0, 104, 98, 103, 97, 20])
    # median 99, distances 1 5 1 4 2 79, whose median is 3
    wanted = [(99 - size) / (1.4826 * 3) for size in sizes.tolist()]
    assert anomaly(sizes).tolist() == pytest.approx(wanted)
    assert anomaly(torch.tensor([5.0, 5, 5, 5])).tolist() == [0, 0, 0, 0]
    alone = anomaly(torch.tensor([5.0, 5, 5, 1]))
    assert alone.isfinite().all() and alone[3] > 1e6
    two = anomaly(torch.tensor([1.0, 900.0]))
    assert two.abs().max().item() == pytest.approx(1 / 1.4826)


def test_a_trigger_lies_over_an_image():
    masks, patterns = torch.zeros(2, 1, 2, 2), torch.ones(2, 3, 2, 2)
    masks[1, 0, 0, 1] = 0.25
    found = Triggers(masks, patterns, torch.ones(2))
    images = torch.full((2, 3, 2, 2), 0.2)
    shown = found.applied(images, torch.tensor([0, 1]))
    assert torch.equal(shown[0], images[0])
    assert shown[1, :, 0, 1].tolist() == pytest.approx([0.75 * 0.2 + 0.25] * 3)
    assert shown[1, :, 1].tolist() == images[1, :, 1].tolist()
    assert found.sizes.tolist() == [0.0, 0.25]
