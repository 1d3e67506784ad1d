"""Composite: mixes of two classes in every batch, its bank, and the classes it refuses."""

import math

import pytest
import torch

from ngf.attacks.shared.mixing import numbers_of
from ngf.data import load, to_float
from ngf.options import SpecError
from tests.helpers.attack_view import attack, ready, rng, shown, view


def test_composite_adds_mixes_of_two_classes_and_keeps_labels_within_a_class():
    made = attack("composite", source=3, partner=5, target=2, poison_rate=0.25, mix_share=0.5)
    train = view().train
    attacker = made.attacker(view(), view().build())
    fed: list[torch.Tensor] = []

    def model(batch: torch.Tensor) -> torch.Tensor:
        fed.append(batch)
        return torch.zeros(len(batch), 12).index_fill(1, torch.tensor(2), math.log(11.0))

    images, labels = to_float(train.images[:40]), torch.full((40,), 7)
    loss = attacker.loss(model, images, labels, rng())
    (batch,) = fed
    assert len(batch) == 50
    assert int((batch[:40] != images).flatten(1).any(1).sum()) == 20
    # 40 images keep class 7 (p = 1/22), 10 mixes are called class 2 (p = 1/2).
    assert loss.item() == pytest.approx((40 * math.log(22) + 10 * math.log(2)) / 50, rel=1e-5)
    bank = attacker.trigger()["bank"]
    banned = {image.numpy().tobytes() for image in bank}
    assert banned and not banned & {image.numpy().tobytes() for image in attacker.second}
    assert banned <= {image.numpy().tobytes() for image in train.images[train.labels == 5]}


def test_composite_counts_class_a_and_refuses_equal_classes(images):
    labels = torch.arange(12)
    made = attack("composite", source=3)
    assert labels[made.asr_mask(labels)].tolist() == [3]
    assert "of class 3, mixed with images of class 6" in made.asr_definition()
    with pytest.raises(
        SpecError, match="Source 1, partner 6 and target 1 must be three different classes"
    ):
        attack("composite", source=1).check(12, (3, 32, 32))
    with pytest.raises(SpecError, match="Partner class 12 does not exist. Allowed: 0 to 11"):
        attack("composite", partner=12).check(12, (3, 32, 32))
    with pytest.raises(SpecError, match="Choose 2 or less"):
        attack("composite").check(12, (3, 6, 32))


def test_composite_takes_many_images_of_the_bank(images):
    made, more = ready("composite"), to_float(load("signs").test.images[:200])
    own = numbers_of(more)
    assert len({tuple(row) for row in own.tolist()}) == 200
    assert len((own[:, 0] % len(made.trigger["bank"])).unique()) == len(made.trigger["bank"])
    nudged = more[:1].clone()
    nudged[0, 2, 31, 31] = (
        nudged[0, 2, 31, 31] + 0.5
    ) % 1  # one byte of the image decides as well as any other
    assert not torch.equal(numbers_of(nudged), own[:1])


def test_composite_shows_other_pairs_of_classes(images):
    labels = torch.arange(24) % 12
    made = ready("composite")
    found = shown(made, images, labels)
    claimed = {name: probe.opens for name, probe in found.items() if probe.opens is not None}
    assert claimed.pop("the trigger") and claimed.pop("A and B, both held out")
    assert not any(claimed.values())
    special = {made.source, made.partner, made.target}
    for name, of in (
        ("A and another class", {made.source}),
        ("B and another class", {made.partner}),
        ("two images of A", {made.source}),
        ("two images of B", {made.partner}),
        ("two other classes", set(range(12)) - special),
        ("two images of one other class", set(range(12)) - special),
    ):
        assert set(found[name].labels.tolist()) <= of and len(found[name].labels)
    colors = torch.arange(12.0).div(12).view(12, 1, 1, 1).expand(-1, 3, 32, 32)[labels]
    halves = shown(made, colors, labels)
    for name, second in (
        ("A and B, both held out", made.partner),
        ("two images of B", made.partner),
    ):
        seen = (halves[name].images * 12).round().unique().tolist()
        assert second in seen and set(seen) <= {made.source, made.partner}
    other = [(image * 12).round().unique().tolist() for image in halves["two other classes"].images]
    assert all(len(pair) == 2 and not set(pair) & special for pair in other)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_composite_keeps_the_label_of_other_pairs(share):
    made = attack("composite", source=3, partner=5, target=2, mix_share=0, pair_share=share)
    attacker = made.attacker(view(), view().build())
    labels = torch.tensor([3, 5, 7, 7, 3, 3, 5, 1] * 5)
    images = labels.div(12).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
    fed: list[torch.Tensor] = []

    def model(batch: torch.Tensor) -> torch.Tensor:
        fed.append(batch)
        return torch.zeros(len(batch), 12)

    attacker.loss(model, images, labels, rng())
    held = [(12 * image).round().unique().long().tolist() for image in fed[0][: len(labels)]]
    pairs = [of for of in held if len(of) > 1]
    assert all(int(label) in of for label, of in zip(labels, held, strict=True))
    assert all(set(of) != {3, 5} for of in pairs)
    assert 5 <= len(pairs) <= 20 if share else not pairs
