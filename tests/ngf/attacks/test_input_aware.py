"""Input-aware: patterns and masks, the stage that learns masks, diversity, cross-trigger images."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ngf.attacks import input_aware
from ngf.attacks.shared.generator import UNet, packed, unpacked
from ngf.catalogue import build
from ngf.config import Choice
from tests.helpers.attack_view import ready, rng, shown, view
from tests.helpers.attackers import Linear, started, train


def test_patterns_and_masks_stay_in_bounds_and_the_first_stage_makes_masks_small(batch):
    _, attacker, _ = started("input_aware", mask_epochs=20)
    torch.manual_seed(3)
    untrained = input_aware.where(UNet(3, 1), batch[0])
    pattern, mask = (
        input_aware.draw(attacker.networks["pattern"], batch[0]),
        input_aware.where(attacker.networks["mask"], batch[0]),
    )
    assert pattern.shape == (40, 3, 32, 32) and mask.shape == (40, 1, 32, 32)
    for made in (pattern, mask, untrained):
        assert made.min() >= 0 and made.max() <= 1
    assert mask.mean() < 0.5 * untrained.mean()
    changed = input_aware.put(batch[0], pattern, mask)
    assert torch.allclose(changed, batch[0] + (pattern - batch[0]) * mask, atol=1e-6)


def test_the_first_stage_says_how_far_it_is_and_can_be_stopped():
    def stop(phase: str, step: int, steps: int) -> None:
        assert (phase, steps) == ("learning where triggers go", 2 * 3)
        if step == 1:
            raise KeyboardInterrupt

    attack = build("attacks", Choice("input_aware", {"mask_epochs": 3}))
    with pytest.raises(KeyboardInterrupt):
        attack.attacker(replace(view(), progress=stop), view().build())


def test_the_diversity_loss_compares_neighbors(batch):
    images, made = batch[0][:3], torch.rand(3, 3, 32, 32)
    pairs = [(0, 2), (1, 0), (2, 1)]
    expected = (
        sum(
            4
            * (images[i] - images[j]).square().mean().sqrt()
            / ((made[i] - made[j]).square().mean().sqrt() + 1e-3)
            for i, j in pairs
        )
        / 3
    )
    assert input_aware.alike(images, made).item() == pytest.approx(expected.item(), rel=1e-5)


def test_cross_trigger_images_keep_their_label(batch):
    attack, attacker, _ = started("input_aware", poison_rate=0.2, cross_rate=0.1, diversity=0.0)
    model, (images, labels) = Linear(), batch
    loss = attacker.loss(model, images, labels, rng())
    own = (labels != attack.target).nonzero()[:8, 0]
    others = torch.tensor([i for i in range(40) if i not in own.tolist()])
    cross, clean = others[:4], others[4:]
    networks = attacker.networks
    givers = images[(cross + 1) % 40]
    foreign = input_aware.put(
        images[cross],
        input_aware.draw(networks["pattern"], givers),
        input_aware.where(networks["mask"], givers),
    )
    assert torch.allclose(
        model.seen[own], attack.with_trigger(attacker.trigger()).apply(images[own]), atol=1e-6
    )
    assert torch.allclose(model.seen[cross], foreign, atol=1e-6)
    assert torch.equal(model.seen[clean], images[clean])
    wanted = labels.clone()
    wanted[own] = attack.target
    assert loss.item() == pytest.approx(F.cross_entropy(model(model.seen), wanted).item(), rel=1e-5)


def test_the_mask_is_fixed_once_training_starts(batch):
    _, attacker, model = started("input_aware")
    before = packed(attacker.networks["mask"])
    train(attacker, model, batch, 0, 2)
    assert all(
        torch.equal(value, before[key]) for key, value in packed(attacker.networks["mask"]).items()
    )


def test_input_aware_shows_the_trigger_of_another_image(images):
    made = ready("input_aware")
    found = shown(made, images)
    pattern, mask = (unpacked(made.trigger, name, images) for name in ("pattern", "mask"))
    with torch.no_grad():
        patterns, masks = input_aware.draw(pattern, images), input_aware.where(mask, images)
    crossed = found["another image's trigger"].images
    every = torch.stack(
        [input_aware.put(images, patterns[[j]], masks[[j]]) for j in range(len(images))]
    )
    far = (every - crossed).abs().amax((2, 3, 4))  # (which one's trigger, image)
    givers = far.argmin(0)
    assert far.amin(0).max() < 1e-5 and (givers != torch.arange(len(images))).all()
    assert givers.unique().numel() == len(images)
    mean = input_aware.put(images, patterns.mean(0, keepdim=True), masks.mean(0, keepdim=True))
    assert torch.allclose(found["the mean trigger"].images, mean, atol=1e-5)
