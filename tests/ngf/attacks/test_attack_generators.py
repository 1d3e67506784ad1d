"""Definitions of the attacks that learn a generator: LIRA, input-aware, ISSBA, feature space."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ngf.attacks import feature_space, input_aware, issba, lira
from ngf.attacks.shared.generator import UNet, packed, ssim, unpacked
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import to_float
from tests.helpers.attack_view import ready, view

CONTROLLED = ["lira", "input_aware", "feature_space"]


class Linear(torch.nn.Module):
    """A classifier that remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * 32 * 32, 12)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images.detach().clone()
        return self.linear(images.flatten(1) - 0.5)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return to_float(view().train.images[:40]), view().train.labels[:40]


def started(name: str, **options):
    """An attack, its attacker, and a classifier."""
    torch.manual_seed(3)
    attack, model = build("attacks", Choice(name, options)), view().build()
    return attack, attack.attacker(view(), model), model


def train(attacker, model, batches, first: int, last: int, steps: int = 10) -> None:
    """Steps `first` to `last` of `steps`, as the training loop takes them, with plain
    gradient descent.
    """
    images, labels = batches
    for step in range(first, last):
        model.zero_grad()
        attacker.loss(
            model, images.roll(step, 0), labels.roll(step, 0), torch.Generator().manual_seed(step)
        ).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.01 * weight.grad
        attacker.step(step / steps)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("size", [(4, 4), (7, 9), (32, 32)])
def test_the_network_keeps_the_size_and_comes_back_from_its_weights(size):
    network, x = UNet(3, 2, width=4), torch.rand(3, 3, *size)
    weights = packed(torch.nn.ModuleDict({"a": network, "b": UNet(1, 1)}))
    state = torch.get_rng_state()
    again = unpacked(weights, "a", x)
    assert torch.equal(torch.get_rng_state(), state)
    assert again(x).shape == (3, 2, *size)
    assert torch.equal(again(x), network(x).detach())
    assert torch.allclose(
        unpacked(weights, "a", x.double())(x.double()), network(x).double(), atol=1e-5
    )


def test_ssim_is_the_mean_over_windows():
    a, b = torch.rand(2, 1, 8, 9, dtype=torch.float64), torch.rand(2, 1, 8, 9, dtype=torch.float64)
    values = []
    for n in range(2):
        for top in range(2):
            for left in range(3):
                x, y = (z[n, 0, top : top + 7, left : left + 7].flatten().numpy() for z in (a, b))
                cov = np.cov(x, y, bias=True)
                values.append(
                    (2 * x.mean() * y.mean() + 1e-4)
                    * (2 * cov[0, 1] + 9e-4)
                    / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4))
                )
    assert ssim(a, b).item() == pytest.approx(np.mean(values), abs=1e-12)
    assert ssim(a, a).item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", CONTROLLED)
def test_every_step_moves_the_attacker_and_leaves_no_gradient(name, batch):
    _, attacker, model = started(name)
    before = attacker.trigger()
    train(attacker, model, batch, 0, 1)
    after = attacker.trigger()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert all(weight.grad is None for weight in attacker.networks.parameters())


@pytest.mark.parametrize("name", CONTROLLED)
def test_the_attacker_resumes_to_the_last_bit(name, batch):
    _, attacker, model = started(name)
    train(attacker, model, batch, 0, 2)
    state = copy.deepcopy((attacker.state_dict(), model.state_dict()))
    train(attacker, model, batch, 2, 8)
    _, again, other = started(name)
    again.load_state_dict(state[0])
    other.load_state_dict(state[1])
    train(again, other, batch, 2, 8)
    undisturbed = attacker.trigger()
    assert undisturbed.keys() == again.trigger().keys()
    assert all(torch.equal(value, undisturbed[key]) for key, value in again.trigger().items())
    assert all(
        torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items()
    )


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_batch_of_the_target_class_alone_has_a_finite_loss(name, batch):
    attack, attacker, model = started(name)
    train(attacker, model, (batch[0][:4], torch.full((4,), attack.target)), 0, 2)
    assert all(value.isfinite().all() for value in attacker.trigger().values())


@pytest.mark.parametrize("name", CONTROLLED)
def test_the_attacker_learns_to_fool_a_fixed_classifier(name, batch):
    # What else the attacker wants is left out.
    options = {
        "lira": {"lr": 0.01},
        "input_aware": {"diversity": 0.0, "cross_rate": 0.0},
        "feature_space": {"similarity": 0.0},
    }[name]
    attack, attacker, _ = started(name, poison_rate=0.5, **options)
    torch.manual_seed(0)
    model = Linear().requires_grad_(False)
    images, labels = batch
    images, labels = images[labels != attack.target], labels[labels != attack.target]

    def wanted_loss() -> float:
        triggered = attack.with_trigger(attacker.trigger()).apply(images)
        return F.cross_entropy(model(triggered), torch.full_like(labels, attack.target)).item()

    before = wanted_loss()
    for step in range(15):
        attacker.loss(model, images, labels, rng()).backward()
        attacker.step(step / 100)
    assert wanted_loss() < before


def test_lira_changes_no_pixel_by_more_than_eps(batch):
    attack, attacker, _ = started("lira", eps=0.05)
    with torch.no_grad():
        attacker.networks["noise"].leave.weight.mul_(100)  # tanh at its ends
    change = attack.with_trigger(attacker.trigger()).apply(batch[0]) - batch[0]
    assert 0.049 < change.abs().max() <= 0.05 + 1e-6


@pytest.mark.parametrize("mode", ["all-to-one", "all-to-all"])
def test_the_loss_of_lira_weighs_clean_and_triggered_images(mode, batch):
    attack, attacker, _ = started("lira", mode=mode, poison_rate=0.25, alpha=0.3)
    model, (images, labels) = Linear(), batch
    loss = attacker.loss(model, images, labels, rng())
    chosen = (
        (labels != attack.target).nonzero()[:10, 0] if mode == "all-to-one" else torch.arange(10)
    )
    triggered = attack.with_trigger(attacker.trigger()).apply(images[chosen])
    wanted = torch.full((10,), attack.target) if mode == "all-to-one" else (labels[:10] + 1) % 12
    assert torch.allclose(model.seen, torch.cat([images, triggered]), atol=1e-6)
    expected = 0.3 * F.cross_entropy(model(images), labels) + 0.7 * F.cross_entropy(
        model(triggered), wanted
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_lira_fixes_its_noise_in_stage_2_and_changes_eps(batch):
    attack, attacker, model = started("lira", stage1=0.3, eps=0.05, eps_after=0.02)
    train(attacker, model, batch, 0, 4)  # the last of these says that 0.3 of the training is over
    frozen = attacker.trigger()
    assert frozen["eps"].item() == 0.02
    train(attacker, model, batch, 4, 6)
    assert all(torch.equal(value, frozen[key]) for key, value in attacker.trigger().items())
    change = attack.with_trigger(frozen).apply(batch[0]) - batch[0]
    assert 0 < change.abs().max() <= 0.02 + 1e-6
    assert lira.add_noise(attacker.networks["noise"], batch[0], 0.0).equal(batch[0])


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


def test_the_secret_can_be_read_from_triggered_images(batch):
    attack = ready("issba", bits=4, encoder_epochs=20, bound=0.2)
    decoder = issba.Decoder(3, 4)
    decoder.load_state_dict(
        {
            key.removeprefix("decoder."): value
            for key, value in attack.trigger.items()
            if key.startswith("decoder.")
        }
    )
    with torch.no_grad():
        right = (decoder(attack.apply(batch[0])) > 0) == attack.trigger["secret"].bool()
        wrong = (decoder(batch[0]) > 0) == attack.trigger["secret"].bool()
    assert right.float().mean() > 0.9 > wrong.float().mean()


def test_issba_stays_within_its_bound_and_spells_its_secret(batch):
    attack, other = ready("issba"), ready("issba", secret_seed=8)
    loud = {**attack.trigger, "encoder.leave.weight": 100 * attack.trigger["encoder.leave.weight"]}
    change = attack.with_trigger(loud).apply(batch[0]) - batch[0]
    assert 0.99 * attack.bound < change.abs().max() <= attack.bound + 1e-6
    assert torch.equal(
        other.trigger["encoder.enter.weight"], attack.trigger["encoder.enter.weight"]
    )
    assert not torch.equal(other.trigger["secret"], attack.trigger["secret"])
    assert not torch.equal(other.apply(batch[0]), attack.apply(batch[0]))


def test_the_tone_curve_is_the_line_through_its_knots(batch):
    curve = torch.randn(3, 5, dtype=torch.float64)
    weights = {"mix": 100 * torch.eye(3, dtype=torch.float64), "curve": curve}
    images = batch[0].double()
    toned = feature_space.tone(weights, images, 1.0)
    for channel in range(3):
        expected = np.interp(
            images[:, channel].numpy(), np.linspace(0, 1, 5), curve[channel].sigmoid().numpy()
        )
        assert np.allclose(toned[:, channel].numpy(), expected, atol=1e-12)
    half = feature_space.tone(weights, images, 0.5)
    assert torch.allclose(half, (images + toned) / 2, atol=1e-12)


def test_warm_light_raises_red_and_lowers_blue():
    gray = torch.full((1, 3, 8, 8), 0.5)
    red, green, blue = (
        feature_space.tone(feature_space.warm_light(3, 8), gray, 0.6).mean((0, 2, 3)).tolist()
    )
    assert red > 0.55 and green == pytest.approx(0.5, abs=0.01) and blue < 0.45
    assert feature_space.warm_light(1, 8)["curve"].shape == (1, 8)


def test_the_injector_is_linear_in_local_features(batch):
    images = batch[0][:2].double()
    start = torch.eye(3, 12, dtype=torch.float64)
    assert torch.allclose(feature_space.inject(start, images, 0.6), images)
    for block, pick in ((1, torch.amax), (2, torch.amin), (3, torch.mean)):
        matrix = torch.zeros(3, 12, dtype=torch.float64)
        matrix[0, 3 * block + 1] = 1.0  # red becomes the local green
        out = feature_space.inject(matrix, images, 1.0)
        window = images[:, 1, 10:21, 10:21]
        assert torch.allclose(out[:, 0, 15, 15], pick(window, (1, 2)))
        assert (out[:, 1:] == 0).all()


def test_detoxification_keeps_labels_and_leaves_the_classifier_alone(batch):
    attack, attacker, model = started(
        "feature_space", poison_rate=0.2, detox_rate=0.1, similarity=0.0
    )
    attacker.networks["injector"].data.add_(0.1)
    images, labels = batch
    model.train()
    kept = copy.deepcopy(model)
    candidates = (labels != attack.target).nonzero()[:, 0]
    own, cleaned = candidates[:8], candidates[8:12]
    matrix = attacker.networks["injector"].detach().clone().requires_grad_(True)
    injected = feature_space.inject(matrix, images[cleaned], attack.alpha)
    fooled = F.cross_entropy(copy.deepcopy(model).eval()(injected), torch.full((4,), attack.target))
    (expected,) = torch.autograd.grad(fooled - 0.1 * ssim(injected, images[cleaned]), matrix)
    assert expected.abs().sum() > 0
    loss = attacker.loss(model, images, labels, rng())
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    mixed, wanted = images.clone(), labels.clone()
    mixed[own] = attack.with_trigger(attacker.trigger()).apply(images[own])
    mixed[cleaned] = feature_space.inject(
        attacker.networks["injector"], images[cleaned], attack.alpha
    ).detach()
    wanted[own] = attack.target
    assert loss.item() == pytest.approx(F.cross_entropy(kept(mixed), wanted).item(), rel=1e-5)
    for (
        name,
        value,
    ) in (
        kept.state_dict().items()
    ):  # running statistics have seen one batch, not the injector's too
        assert torch.allclose(value, model.state_dict()[name], atol=1e-6), name
    assert torch.allclose(attacker.networks["injector"].grad, expected, atol=1e-6)
