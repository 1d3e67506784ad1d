"""ISSBA: a secret that can be read, within its bound, and from its own image alone."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ngf.attacks import issba
from ngf.attacks.shared.generator import own_share
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, TrainSpec
from ngf.data import Images, load, to_float
from ngf.data.images import to_bytes
from ngf.options import SpecError
from ngf.predictions import predict
from ngf.runs.child import execute
from ngf.runs.store import Store
from tests.helpers.attack_view import attack, ready, rng, view

NONE_OF_IT = torch.zeros(6, dtype=torch.int64)  # labels, which cover images do not look at


def test_the_price_of_foreign_reading_ties_the_noise_to_its_image():
    full = view()
    small = F.avg_pool2d(full.train.images.float(), 4).to(torch.uint8)  # so that it takes seconds
    world, images = replace(full, train=Images(small, full.train.labels)), to_float(small)

    def learned(**options):
        """How surely the secret is read from its own image and from another one with the same
        noise, and the image's own share of the noise.
        """
        torch.manual_seed(0)
        made = attack("issba", bits=2, batch_size=16, likeness=0.0, lr=4e-3, **options)
        made = made.with_trigger(made.prepare(world))
        triggered, decoder = made.apply(images), made.decoder(images)
        assert made.figures(images)["bits read"] > 0.95
        own, foreign = (
            (2 * decoder(shown).sigmoid() - 1).abs().mean()
            for shown in (triggered, issba.exchanged(images, triggered, rng()))
        )
        return own, foreign, own_share(images, triggered)

    own, foreign, share = learned(foreign=0.0, encoder_epochs=10)
    assert foreign > 0.95 * own and share < 0.1
    own, foreign, share = learned(foreign=1.0, encoder_epochs=40)
    assert foreign < 0.75 * own and share > 0.3


def test_the_loss_reads_each_secret_from_its_image_and_none_from_the_next(batch):
    images, secrets = batch[0][:3], torch.randint(0, 2, (3, 20), generator=rng()).float()
    hidden = (images + 0.1 * torch.randn(images.shape, generator=rng())).clamp(0, 1)
    decoder = ready("issba").decoder(images)

    def read(shown, wanted):
        chance = decoder(shown[None])[0].sigmoid()
        return -(wanted * chance.log() + (1 - wanted) * (1 - chance).log()).mean()

    own = sum(read(hidden[i], secrets[i]) for i in range(3)) / 3
    others = [(images[i] + hidden[j] - images[j]).clamp(0, 1) for i, j in ((0, 2), (1, 0), (2, 1))]
    foreign = sum(read(shown, torch.full((20,), 0.5)) for shown in others) / 3
    for price in (0.0, 0.7):
        loss = attack("issba", foreign=price).reading_loss(decoder, images, hidden, secrets)
        assert loss.item() == pytest.approx((1.5 * own + price * foreign).item(), rel=1e-5)
    alone = attack("issba", foreign=0.7).reading_loss(decoder, images[:1], hidden[:1], secrets[:1])
    assert alone.item() == pytest.approx(1.5 * read(hidden[0], secrets[0]).item(), rel=1e-5)


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


def test_cover_images_carry_the_noise_of_another_one():
    made = ready("issba")
    images = 0.5 + 0.1 * torch.rand(6, 3, 32, 32, generator=rng())  # nothing is clipped
    added = made.cover(images, NONE_OF_IT, rng()) - images
    residual = made.apply(images) - images
    whose = torch.cdist(added.flatten(1), residual.flatten(1)).argmin(1)
    assert torch.allclose(added, residual[whose], atol=1e-6)
    assert sorted(whose.tolist()) == list(range(6)) and not bool((whose == torch.arange(6)).any())
    with pytest.raises(SpecError, match="gives 1 cover image, which needs the noise of another"):
        made.cover(images[:1], NONE_OF_IT[:1], rng())


def test_the_figures_count_the_bits_of_what_a_model_is_shown(batch):
    made = ready("issba")
    images, secret = batch[0], made.trigger["secret"].bool()
    shown = to_float(to_bytes(made.apply(images)))
    with torch.no_grad():
        right = (made.decoder(images)(shown) > 0) == secret
    assert torch.equal(made.read(shown) == secret, right)
    assert made.figures(images)["bits read"] == pytest.approx(right.double().mean().item())


# pytest -m slow tests/ngf/attacks/test_issba.py: about four minutes each
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_only_its_own_noise_opens_the_backdoor(tmp_path, seed):
    store = Store(tmp_path)
    run = store.submit(TrainSpec(attack=Choice("issba"), seed=seed))
    assert execute(run) == "done", run.error
    assert run.result["ca"] >= 0.95
    model, made = load_model(store, run.id).model, load_attack(run)
    test = load("signs", seed=seed).test
    test = test.take(made.asr_mask(test.labels))
    opened = {
        probe.name: (predict(model, to_bytes(probe.images)) == probe.wanted).float().mean().item()
        for probe in made.probes(test.floats(), test.labels, 12, rng())
    }
    assert opened["the trigger"] >= 0.8
    assert opened["another image's change"] <= 0.2
    assert opened["the mean change on every image"] <= 0.2
    assert made.figures(test.floats())["bits read"] >= 0.95
