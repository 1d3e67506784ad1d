"""What every attack promises, present and future."""

import math
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file

from ngf.attacks.opens import figures, probes
from ngf.catalogue import build, names
from ngf.catalogue import load as load_plugin
from ngf.checkpoints.weights import save_tensors
from ngf.config import Choice
from ngf.data import Images
from ngf.data import load as load_data
from ngf.data.images import to_bytes
from ngf.options import SpecError
from ngf.runs.folder import TRIGGER
from tests.helpers.attack_view import ready

ATTACKS = [name for name in names("attacks") if name != "none"]


@pytest.mark.parametrize("name", names("attacks"))
def test_every_attack_is_pure_and_bounded(name, images):
    attack = ready(name)
    for batch in (images, images.double()):
        kept = batch.clone()
        once, twice = attack.apply(batch), attack.apply(batch)
        assert torch.equal(batch, kept)
        assert torch.equal(once, twice)
        assert once.shape == batch.shape
        assert once.dtype == batch.dtype
        assert once.min() >= 0 and once.max() <= 1
        assert once.data_ptr() != batch.data_ptr()
        # One image alone gets the trigger that it gets in a batch; a network sums in another order.
        assert torch.allclose(
            attack.apply(batch[3:4]), once[3:4], rtol=0, atol=1e-5 if attack.learned else 0
        )
        assert torch.equal(once, batch) == (name == "none")


@pytest.mark.parametrize("name", names("attacks"))
def test_every_attack_works_on_gray_images(name, images):
    gray = images.mean(1, keepdim=True)
    out = ready(name, channels=1).apply(gray)
    assert out.shape == gray.shape
    assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize("name", [name for name in ATTACKS if load_plugin("attacks", name).learned])
def test_a_learned_trigger_is_applied_again_bit_for_bit(name, images, tmp_path):
    attack = ready(name)
    save_tensors(attack.trigger, tmp_path / TRIGGER)
    again = build("attacks", Choice(name)).with_trigger(load_file(tmp_path / TRIGGER))
    assert torch.equal(again.apply(images), attack.apply(images))
    with pytest.raises(SpecError, match="learned in training"):
        build("attacks", Choice(name)).apply(images)


@pytest.mark.parametrize("name", names("attacks"))
def test_every_attack_describes_itself(name):
    attack = build("attacks", Choice(name))
    assert attack.title
    assert "Share of" in attack.asr_definition()
    again = build("attacks", Choice(name, asdict(attack)))
    assert again == attack


@pytest.mark.parametrize("name", ATTACKS)
def test_labels_and_masks(name):
    attack = build("attacks", Choice(name))
    labels = torch.arange(12)
    assert attack.labels(labels, 12).unique().tolist() == [attack.target]
    counted = labels[attack.asr_mask(labels)].tolist()
    assert counted and attack.target not in counted
    candidates = labels[attack.candidates(labels)].tolist()
    assert (
        candidates == [attack.target]
        if attack.clean_label
        else candidates and attack.target not in candidates
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_a_target_that_does_not_exist_is_refused(name):
    with pytest.raises(SpecError, match=r"Target class 50 does not exist. Allowed: 0 to 11"):
        build("attacks", Choice(name, {"target": 50})).check(12, (3, 32, 32))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", ATTACKS)
def test_what_every_attack_says_of_what_opens_it(name, channels):
    test = load_data("signs").test.take(slice(0, 36))
    attack = ready(name)
    if channels == 1:
        test = Images(to_bytes(test.floats().mean(1, keepdim=True)), test.labels)
        attack = ready(name, channels=1)
    kept = test.images.clone()
    found, again, other = (list(probes(attack, test, 12, seed)) for seed in (0, 0, 1))
    assert torch.equal(test.images, kept)
    for probe, same in zip(found, again, strict=True):
        count = len(probe.images)
        assert count > 0
        assert probe.images.shape == (count, *test.shape)
        assert probe.images.dtype == torch.float32
        assert probe.images.min() >= 0 and probe.images.max() <= 1
        assert probe.labels.dtype == probe.wanted.dtype == torch.int64
        assert probe.labels.shape == (count,)
        assert torch.equal(probe.wanted, attack.labels(probe.labels, 12))
        assert bool((probe.wanted != probe.labels).all())
        assert probe.opens in (True, False, None)
        assert torch.equal(probe.images, same.images) and torch.equal(probe.labels, same.labels)
    assert len({probe.name for probe in found}) == len(found)
    assert [probe.name for probe in found] == [probe.name for probe in other]
    counted = test.take(attack.asr_mask(test.labels))
    trigger, none = found[:2]
    assert trigger.opens is True and torch.equal(trigger.images, attack.apply(counted.floats()))
    assert none.opens is False and torch.equal(none.images, counted.floats())
    assert torch.equal(trigger.labels, counted.labels)
    assert all(math.isfinite(value) for value in figures(attack, test).values())


def test_nothing_opens_a_benign_model():
    test = load_data("signs").test.take(slice(0, 36))
    assert not list(probes(ready("none"), test, 12)) and not figures(ready("none"), test)
