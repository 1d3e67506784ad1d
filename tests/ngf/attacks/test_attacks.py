"""Contract of every attack, present and future; and what each definition says."""

import math
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file

from ngf.catalogue import build, names
from ngf.catalogue import load as load_plugin
from ngf.checkpoints.weights import save_tensors
from ngf.config import Choice
from ngf.data import load, to_float
from ngf.options import SpecError
from ngf.runs.folder import TRIGGER
from tests.helpers.attack_view import ready

ATTACKS = [name for name in names("attacks") if name != "none"]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return to_float(load("signs").test.images[:24])


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


def test_badnets_changes_its_patch_only(images):
    attack = build(
        "attacks",
        Choice(
            "badnets",
            {
                "size": 3,
                "alpha": 0.5,
                "pattern": "checkerboard",
                "position": "top left",
                "margin": 2,
            },
        ),
    )
    out = attack.apply(images)
    changed = (out != images).flatten(0, 1).any(0)
    rows, columns = changed.nonzero().T
    assert rows.min() >= 2 and rows.max() <= 4 and columns.min() >= 2 and columns.max() <= 4
    expected = 0.5 * images[:, :, 2:5, 2:5] + 0.5 * attack.patch()
    assert torch.allclose(out[:, :, 2:5, 2:5], expected)


def test_a_patch_that_does_not_fit_is_refused(images):
    with pytest.raises(ValueError, match="does not fit into an image of 32x32"):
        build("attacks", Choice("badnets", {"size": 16, "margin": 20})).apply(images)


def test_blend_is_one_formula(images):
    weak, strong = (
        build("attacks", Choice("blend", {"alpha": a})).apply(images) for a in (0.1, 1.0)
    )
    assert torch.allclose(weak, 0.9 * images + 0.1 * strong, atol=1e-6)


def test_sig_is_the_sinusoid():
    attack = build("attacks", Choice("sig", {"delta": 40.0, "frequency": 6}))
    gray = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    wave = (attack.apply(gray) - 0.5)[0, 0, 0] * 255
    expected = [40 * math.sin(2 * math.pi * j * 6 / 32) for j in range(32)]
    assert wave.tolist() == pytest.approx(expected, abs=1e-9)


def test_wanet_moves_pixels_and_covers_with_noise(images):
    attack = build("attacks", Choice("wanet"))
    still = build("attacks", Choice("wanet", {"strength": 0.1})).apply(images)
    assert (still - images).abs().mean() < (attack.apply(images) - images).abs().mean()
    flat = torch.full((2, 3, 32, 32), 0.25)
    assert torch.allclose(attack.apply(flat), flat)  # a warp of a constant is the constant
    cover = attack.cover(
        images, torch.zeros(24, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    assert not torch.equal(cover[0], attack.apply(images)[0])


def test_unknown_options_and_values_list_what_is_allowed():
    with pytest.raises(SpecError, match=f"Allowed: {', '.join(names('attacks'))}."):
        build("attacks", Choice("badnet"))
    with pytest.raises(SpecError, match="badnets has no option colour. Allowed: target, mode"):
        build("attacks", Choice("badnets", {"colour": 1}))
    with pytest.raises(
        SpecError, match=r"badnets.alpha = 2.0 is out of range. Allowed: from 0.01 to 1.0"
    ):
        build("attacks", Choice("badnets", {"alpha": 2}))
    with pytest.raises(SpecError, match="Allowed: sticker, checkerboard"):
        build("attacks", Choice("badnets", {"pattern": "dots"}))
