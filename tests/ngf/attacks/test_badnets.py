"""BadNets: its patch and nothing else, and the patches of public code."""

import pytest
import torch

from ngf.catalogue import build
from ngf.config import Choice
from tests.helpers.attack_view import attack, shown

GRID = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 1]])


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


@pytest.mark.parametrize(
    ("preset", "alpha", "pattern"),
    [
        ("ngf", 0.7, GRID),
        ("fip", 0.6, GRID),
        ("anp", 1.0, GRID),
        ("backdoorbench", 1.0, torch.ones(3, 3)),
    ],
)
def test_badnets_presets_are_the_patches_of_public_code(images, preset, alpha, pattern):
    made = attack(
        "badnets", preset=preset, size=9, position="top left", alpha=0.2
    )  # the preset decides
    expected = images.clone()
    expected[:, :, 29:32, 29:32] = (1 - alpha) * images[:, :, 29:32, 29:32] + alpha * pattern
    assert torch.allclose(made.apply(images), expected, atol=1e-6)
    assert (made.size, made.margin, made.alpha, made.position) == (3, 0, alpha, "bottom right")


def test_badnets_without_a_preset_is_what_it_was(images):
    yellow, black = torch.tensor([1.0, 0.85, 0.0]), torch.tensor([0.05, 0.05, 0.05])
    window = attack("badnets").apply(images)[:, :, 27:31, 27:31]
    for row in range(4):
        for column in range(4):
            color = yellow if row // 2 == column // 2 else black
            assert torch.allclose(window[:, :, row, column], color)


def test_badnets_shows_its_patch_elsewhere_and_others_in_its_place(images):
    made = attack("badnets")
    found = shown(made, images)
    patch = made.patch()
    for name, row in (("moved by 2 pixels", 25), ("moved by 4 pixels", 23)):
        window = found[f"the patch, {name}"].images[:, :, row : row + 4, row : row + 4]
        assert torch.equal(window, patch.expand_as(window))
    corner = found["the patch in the opposite corner"].images
    assert torch.equal(corner[:, :, 1:5, 1:5], patch.expand(len(images), -1, -1, -1))
    assert torch.equal(corner[:, :, 5:], images[:, :, 5:])
    inverted = found["the patch with its colors inverted"].images
    assert torch.equal(inverted[0, :, 27:31, 27:31], 1 - patch)
    whole = shown(attack("badnets", size=16, margin=0), images[..., :16, :16])
    assert not any("moved" in name for name in whole), "there is no room to move it"
