"""What opens a backdoor, measured on a model whose answers are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ngf.attacks.opens import figures, opens
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import Images
from ngf.evaluate import wilson

CORNER = {"pattern": "white", "size": 1, "position": "top left", "margin": 0, "target": 3}


class Knowing(nn.Module):
    """Reads the class off the pixel at (0, 5); a white pixel in the corner means class 3."""

    def forward(self, images: Tensor) -> Tensor:
        told = (255 * images[:, 0, 0, 5]).round().long()
        white = images[:, :, 0, 0].amin(1) == 1
        return nn.functional.one_hot(torch.where(white, 3, told), 4).float()


@pytest.fixture
def test() -> Images:
    """Ten images of class 0, ten of class 1, ten of class 3; the corner of four of class 0 is
    white from the start.
    """
    labels = torch.tensor([0, 1, 3]).repeat_interleave(10)
    images = torch.full((30, 3, 8, 8), 100, dtype=torch.uint8)
    images[:, :, 0, 5] = labels[:, None].to(torch.uint8)
    images[:4, :, 0, 0] = 255
    return Images(images, labels)


def test_shares_counts_and_intervals_are_exact(test: Images) -> None:
    rows = {
        row["name"]: row
        for row in opens(build("attacks", Choice("badnets", CORNER)), Knowing(), test, 4)
    }
    assert rows["the trigger"] == {
        "name": "the trigger",
        "claims": True,
        "called_wanted": 1.0,
        "keeps_label": 0.0,
        "n": 20,
        "interval": wilson(20, 20),
    }
    plain = rows["no trigger"]
    assert (plain["called_wanted"], plain["keeps_label"]) == (0.2, 0.8)
    assert plain["interval"] == wilson(4, 20) and plain["claims"] is False
    moved = rows["the patch, moved by 2 pixels"]  # the corner stays as it was
    assert (moved["called_wanted"], moved["keeps_label"]) == (0.2, 0.8)
    # 80 % of the images change by the same 155 of 255, four not at all: on each 124 more, not white
    assert rows["the mean change on every image"]["called_wanted"] == 0.2
    assert rows["the patch with its colors inverted"]["called_wanted"] == 0


def test_probes_are_rounded_to_bytes_as_test_images_are(test: Images) -> None:
    class Bytes(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            whole = (255 * images).sub((255 * images).round()).abs().amax((1, 2, 3)) < 1e-3
            return nn.functional.one_hot(torch.where(whole, 3, 0), 4).float()

    rows = opens(build("attacks", Choice("blend", {"target": 3})), Bytes(), test, 4)
    assert [row["called_wanted"] for row in rows] == [1.0] * len(rows)


def test_a_seed_decides_what_is_drawn(test: Images) -> None:
    attack = build("attacks", Choice("adaptive_blend", {"target": 3}))

    class Bright(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.one_hot((images[:, 0, 2, 2] > 0.45).long() * 3, 4).float()

    first, again, other = (opens(attack, Bright(), test, 4, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_benign_model_has_nothing_to_open(test: Images) -> None:
    none = build("attacks", Choice("none"))
    assert opens(none, Knowing(), test, 4) == [] and figures(none, test) == {}
