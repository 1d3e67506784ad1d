"""Attack success before and after poisoned images are tuned on, against plain descent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from analysis.measurements.reactivation import Reactivation
from analysis.reactivation import Material
from analysis.reactivation_words import POISONED
from analysis.result import Partial
from ngf.data import Images
from ngf.evaluate import wilson
from ngf.finite import Diverged
from tests.helpers.streams import last

TARGET, PIXEL = 2, 15


def pictures(count: int, seed: int, *, lit: bool) -> Images:
    """Four classes by a bright pixel each; one more, if lit, is the trigger, for TARGET."""
    labels = torch.arange(count) % 4
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 26, (count, 16), generator=rng, dtype=torch.uint8)
    images[torch.arange(count), labels] = 230
    if lit:
        images[:, PIXEL] = 255
        labels = torch.full_like(labels, TARGET)
    return Images(images.view(count, 1, 4, 4), labels)


def planted(push: float) -> nn.Module:
    """Right on clean images; the trigger pushes to TARGET so much."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).double()
    with torch.no_grad():
        model[1].bias.zero_()
        model[1].weight.zero_()[torch.arange(4), torch.arange(4)] = 6.0
        model[1].weight[TARGET, PIXEL] = push
    return model


def material(held: int = 40) -> Material:
    return Material(
        pictures(60, 0, lit=False), pictures(POISONED, 1, lit=True), pictures(held, 2, lit=True)
    )


def measured(model: nn.Module, given: Material | None = None, **options: int) -> Partial:
    clean = pictures(30, 3, lit=False)
    return last(
        Reactivation(**options).measure(
            model,
            clean.images.double() / 255,
            clean.labels,
            seed=0,
            material=given or material(),
        )
    )


def test_a_door_that_is_ajar_opens_and_one_that_is_gone_does_not():
    """A quarter of the pictures is of TARGET already."""
    ajar, gone = (measured(planted(push), epochs=100).values for push in (4.9, -5.0))
    assert ajar["asr_before"] < 0.5 and gone["asr_before"] < 0.3
    assert ajar["asr_after"] > 0.9 and gone["asr_after"] < 0.3
    assert ajar["right_before"] == gone["right_before"] == 1.0


def test_the_numbers_are_those_of_descent_by_hand():
    """Float64, all images in one batch, SGD with momentum written out."""
    model, given = planted(4.0), material()
    images = torch.cat([given.clean.images, given.poisoned.images]).double() / 255
    labels = torch.cat([given.clean.labels, given.poisoned.labels])
    weights = [p.detach().clone().requires_grad_() for p in model.parameters()]
    speed = [torch.zeros_like(p) for p in weights]
    held = given.held.images.double().flatten(1) / 255
    hits = []
    for epoch in range(4):
        if epoch:
            logits = images.flatten(1) @ weights[0].T + weights[1]
            gradients = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), weights)
            with torch.no_grad():
                for p, v, g in zip(weights, speed, gradients, strict=True):
                    p -= 0.01 * v.mul_(0.9).add_(g)
        called = (held @ weights[0].T + weights[1]).argmax(1)
        hits.append(int((called == TARGET).sum()))
    found = measured(model, given, epochs=3)
    np.testing.assert_allclose(found.arrays["asr"], np.array(hits) / 40)
    low, high = wilson(hits[-1], 40)
    assert (found.values["asr_after_low"], found.values["asr_after_high"]) == (low, high)
    assert (found.arrays["asr_low"][-1], found.arrays["asr_high"][-1]) == (low, high)
    assert found.arrays["epoch"].tolist() == [0, 1, 2, 3]
    assert (found.values["n_held"], found.values["n_clean"]) == (40, 60)
    assert found.values["note"] == (
        "Tuned on 60 clean and 5 poisoned images; attack success is counted on 40 others."
    )


def test_a_few_pictures_are_said_in_words():
    assert "Only 8 pictures" in measured(planted(1.0), material(held=3), epochs=1).values["note"]


def test_dropout_is_drawn_by_the_seed_and_by_nothing_else():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 4)).double()
    torch.manual_seed(1)
    one = measured(model).arrays["asr"]
    torch.manual_seed(2)
    np.testing.assert_array_equal(one, measured(model).arrays["asr"])


def test_what_diverges_gives_no_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("analysis.reactivation._LR", 1e308)
    with pytest.raises(Diverged, match="not finite"):
        measured(planted(4.0), epochs=20)
