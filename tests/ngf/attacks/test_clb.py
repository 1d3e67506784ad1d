"""CLB: corners with a pattern, and perturbed images of the target class."""

import pytest
import torch

from ngf.attacks.poison import apply_in_chunks, poison
from ngf.data import to_float
from ngf.options import SpecError
from tests.helpers.attack_view import attack, shown, view

GRID = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 1]])


@pytest.fixture(scope="module")
def clb(world):
    made = attack("clb", epsilon=8, poison_rate=0.05)
    return made.with_trigger(made.prepare(world))


def test_clb_puts_the_pattern_into_the_corners_and_changes_nothing_else(clb, images):
    right = 2 * GRID - 1
    signs = torch.zeros(32, 32)
    signs[:3, 29:] = signs[29:, 29:] = right
    signs[:3, :3] = signs[29:, :3] = right.flip(1)
    assert torch.equal(clb.apply(images), torch.where(signs == 0, images, (signs + 1) / 2))
    faint = attack("clb", amplitude=0.25).apply(images)
    assert torch.allclose(faint, (images + 0.25 * signs).clamp(0, 1))
    with pytest.raises(SpecError, match="needs 6x6 pixels does not fit into an image of 5x9"):
        attack("clb").check(12, (3, 5, 9))


def test_clb_raises_the_loss_of_target_images_inside_its_box(clb, model):
    clean = view().train.take(view().train.labels == 1)
    made, before = to_float(clb.trigger["images"]), to_float(clean.images)
    assert (made - before).abs().max() <= 8 / 255 + 1e-6
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(model(x), clean.labels, reduction="none")
            for x in (before, made)
        ]
    assert bool((losses[1] > losses[0]).all())


def test_clb_trains_with_perturbed_images_of_the_target_class_and_keeps_labels(clb):
    clean = view().train
    mix = poison(clean, clb, 12, seed=0)
    assert int(mix.triggered.sum()) == 6 and set(clean.labels[mix.triggered].tolist()) == {1}
    assert torch.equal(mix.data.labels, clean.labels)
    perturbed = clean.images.clone()
    perturbed[clean.labels == 1] = clb.trigger["images"]
    assert torch.equal(
        mix.data.images[mix.triggered], apply_in_chunks(clb, perturbed[mix.triggered])
    )
    assert torch.equal(mix.data.images[~mix.triggered], clean.images[~mix.triggered])
    with pytest.raises(SpecError, match="are not kept with this run"):
        poison(clean, attack("clb", poison_rate=0.05), 12, seed=0)


def test_clb_shows_fewer_and_fainter_corners():
    gray = torch.full((1, 3, 32, 32), 0.5)
    found = shown(attack("clb", amplitude=0.4), gray)
    change = {name: (probe.images - gray)[0, 0].abs() for name, probe in found.items()}
    assert {name: int((of > 0).sum()) for name, of in change.items() if "four" in name} == {
        "three of the four corners": 27,
        "one of the four corners": 9,
    }
    assert change["the corners, half as strong"].max() == pytest.approx(0.2, abs=1e-6)
    assert change["the corners, a quarter as strong"].max() == pytest.approx(0.1, abs=1e-6)
