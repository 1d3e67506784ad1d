"""A yardstick says how much of what opened a model still opens it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from analysis.measurements.yardstick import KINDS, Yardstick
from analysis.result import Partial
from ngf.options import SpecError
from tests.helpers.streams import last

CLASSES, TARGET, PIXEL = 5, 2, 15
QUICK = Yardstick(trigger_steps=40, universal_steps=20, epsilon=0.1)


def planted(*, push: float = 60.0) -> nn.Module:
    """Five classes, each by one bright pixel; one more pixel, dark on every image, sends to TARGET
    whatever the others say, by `push`.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)).double()
    with torch.no_grad():
        model[1].bias.zero_()
        model[1].weight.zero_()[torch.arange(CLASSES), torch.arange(CLASSES)] = 8.0
        model[1].weight[TARGET, PIXEL] = push
        model[1].bias[TARGET] = -push * 0.075
    return model


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(80) % CLASSES
    generator = torch.Generator().manual_seed(0)
    images = 0.05 + 0.05 * torch.rand(80, 16, generator=generator, dtype=torch.float64)
    images[torch.arange(80), labels] = 0.9
    return images.view(80, 1, 4, 4), labels


def measured(model: nn.Module) -> Partial:
    return last(QUICK.measure(model, *pictures(), seed=0, reference=planted()))


def test_of_the_model_itself_all_is_left_and_nothing_moved():
    found = measured(planted())
    values = found.values
    assert values["suspicious_class"] == TARGET
    assert values["left"] == 1 and values["moved"] == 0 and values["opened"] > 32
    assert values["left_low"] < values["left_high"] == 1
    for kind in KINDS:
        assert values[f"{kind}_after"] == values[f"{kind}_before"] > 0.9
        before, after = (found.arrays[f"{kind}_rate_{when}"] for when in ("before", "after"))
        np.testing.assert_array_equal(before, after)
        assert before.shape == (CLASSES,) and before[TARGET] == values[f"{kind}_before"]


def test_of_a_model_without_the_backdoor_less_is_left_the_more_of_it_is_gone():
    half, none = (measured(planted(push=push)).values for push in (45.0, 0.0))
    assert none["moved"] == 0, "clean images never needed the pixel"
    assert none["left"] == 0 < half["left"] <= 1
    assert none["universal_after"] == none["trigger_after"] == 0


def test_what_opens_is_the_same_for_every_purified_model_():
    one, other = measured(planted(push=0.0)), measured(planted(push=30.0))
    for name in ("suspicious_class", "universal_before", "trigger_before", "opened"):
        assert one.values[name] == other.values[name], name
    for kind in KINDS:
        name = f"{kind}_rate_before"
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name])


def test_openers_are_the_reference_s_and_not_the_purified_model_s():
    """A model that got a backdoor of another class by its purification is not accused of it."""
    moved_in = planted(push=0.0)
    with torch.no_grad():
        moved_in[1].weight[4, PIXEL] = 60.0
        moved_in[1].bias[4] = -60 * 0.075
    values = measured(moved_in).values
    assert values["suspicious_class"] == TARGET and values["left"] == 0


def test_moved_predictions_are_counted_on_all_images():
    exchanged = copy.deepcopy(planted())
    with torch.no_grad():
        exchanged[1].weight[[0, 1]] = exchanged[1].weight[[1, 0]]
    partial = next(QUICK.measure(exchanged, *pictures(), seed=0, reference=planted()))
    assert partial.values["moved"] == pytest.approx(2 / CLASSES), "known before any search"
    assert partial.values["moved_low"] < 2 / CLASSES < partial.values["moved_high"]
    assert partial.values["left"] is None


def test_what_opens_nothing_leaves_nothing_to_say():
    """The reference calls everything by one class and nothing moves it."""
    stuck = planted(push=0.0)
    with torch.no_grad():
        stuck[1].weight.zero_()
        stuck[1].bias[0] = 1.0
    images, labels = pictures()
    own = labels == 0
    found = last(QUICK.measure(stuck, images[own], labels[own], seed=0, reference=stuck))
    assert found.values["opened"] == 0
    assert found.values["left"] is None and found.values["left_low"] is None


def test_what_it_cannot_measure_is_refused():
    with pytest.raises(SpecError, match="a yardstick knows of none"):
        next(Yardstick(data="triggered_true").measure(planted(), *pictures(), seed=0))
    with pytest.raises(ValueError, match="A yardstick needs two models"):
        next(Yardstick().measure(planted(), *pictures(), seed=0))
    wider = nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES + 1)).double()
    with pytest.raises(ValueError, match="5 classes, the purified one 6"):
        next(Yardstick().measure(wider, *pictures(), seed=0, reference=planted()))
