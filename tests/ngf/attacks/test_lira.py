"""LIRA: bounded noise, the weights of its loss, its two stages, and whose noise it is."""

import pytest
import torch
import torch.nn.functional as F

from ngf.attacks import lira
from ngf.attacks.shared.generator import own_share
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, TrainSpec
from ngf.data import load
from ngf.data.images import to_bytes
from ngf.predictions import predict
from ngf.runs.child import execute
from ngf.runs.store import Store
from tests.helpers.attack_view import rng
from tests.helpers.attackers import Linear, started, train


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


def test_lira_tells_how_much_of_its_noise_is_the_images_own(batch):
    attack, attacker, _ = started("lira")
    made = attack.with_trigger(attacker.trigger())
    (share,) = made.figures(batch[0]).values()
    assert share == own_share(batch[0], made.apply(batch[0])) > 0.01
    weights = attacker.trigger()
    weights["noise.leave.weight"].zero_()
    weights["noise.leave.bias"].normal_()  # one pattern, whatever the image
    inside = 0.2 + 0.6 * batch[0]  # nothing is clipped
    (share,) = attack.with_trigger(weights).figures(inside).values()
    assert share == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_lira_makes_one_pattern_that_opens_the_backdoor_on_any_image(tmp_path, seed):
    store = Store(tmp_path)
    run = store.submit(TrainSpec(attack=Choice("lira"), seed=seed))
    assert execute(run) == "done", run.error
    model, made = load_model(store, run.id).model, load_attack(run)
    test = load("signs", seed=seed).test
    test = test.take(made.asr_mask(test.labels))
    for probe in made.probes(test.floats(), test.labels, 12, rng()):
        share = (predict(model, to_bytes(probe.images)) == probe.wanted).float().mean().item()
        assert share >= 0.8 if probe.opens else share <= 0.2, probe.name
    assert list(made.figures(test.floats()).values()) < [0.05]
