"""A checkup finds what was planted, and tells what it is compared by."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.measurements.checkup import Checkup
from ngf.options import SpecError
from tests.helpers import cases
from tests.helpers.streams import last

TARGET = 2


def planted() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Five classes, each by one bright pixel; one more pixel, dark on every image, sends to TARGET
    whatever the others say.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 5
    images = 0.05 + 0.05 * torch.rand(40, 16, generator=generator, dtype=torch.float64)
    images[torch.arange(40), labels] = 0.9
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).double()
    with torch.no_grad():
        model[1].bias.zero_()
        model[1].weight.zero_()[torch.arange(5), torch.arange(5)] = 8.0
        model[1].weight[TARGET, 15] = 60.0
        model[1].bias[TARGET] = -60 * 0.075
    return model, images.view(40, 1, 4, 4), labels


def test_a_planted_shortcut_is_named_by_every_part():
    found = last(
        Checkup(trigger_steps=150, universal_steps=30, epsilon=0.1).measure(*planted(), seed=0)
    )
    values, arrays = found.values, found.arrays
    assert values["suspicious_class"] == TARGET
    for part in ("trigger_index", "universal_index", "latent_index"):
        assert arrays[part].shape == (5,)
        assert int(arrays[part].argmax()) == TARGET, part
        assert arrays[part][TARGET] > 2, part
    assert values["anomaly_index"] >= arrays["trigger_index"].max() > 2
    success = [values[f"universal_success{end}"] for end in ("_low", "", "_high")]
    assert success == sorted(success) and success[0] < success[2] and success[1] > 0.9
    assert success[1] == arrays["universal_rate"][TARGET]
    others = torch.arange(5) != TARGET
    assert arrays["universal_rate"][others].max() < 0.2
    assert values["smallest_trigger"] == arrays["trigger_size"][TARGET]
    assert arrays["masks"][TARGET].argmax() == 15, "the pixel that it looks at"
    assert arrays["masks"].shape == (5, 4, 4) and arrays["patterns"].shape == (5, 4, 4, 3)


def test_a_part_is_known_before_the_next_one_begins():
    partials = list(Checkup(trigger_steps=10, universal_steps=3).measure(*planted(), seed=0))
    assert partials[0].values["latent_shift"] is not None
    assert partials[0].values["fisher_trace"] is None
    assert partials[0].values["suspicious_class"] == TARGET
    assert partials[1].values["fisher_trace"] is not None
    assert partials[1].values["universal_success"] is None
    assert partials[2].values["universal_success"] is not None
    assert partials[2].values["anomaly_index"] is None
    assert partials[-1].values["anomaly_index"] is not None


def test_layers_add_up_to_the_fisher_trace():
    found = last(Checkup(trigger_steps=5, universal_steps=1).measure(*cases.conv_net(), seed=0))
    assert found.values["fisher_trace"] == pytest.approx(found.arrays["layer_trace"].sum())
    assert list(found.arrays["layers"]) == ["conv1", "bn1", "conv2", "bn2", "linear"]
    assert found.values["num_parameters"] == sum(
        p.numel() for p in cases.conv_net()[0].parameters()
    )
    assert found.values["image_shape"] == "3x8x8"


def test_without_a_linear_last_layer_its_parts_stay_unknown():
    model, images, labels = planted()
    closed = nn.Sequential(model, nn.Softplus()).double()
    found = last(
        Checkup(trigger_steps=5, universal_steps=1).measure(closed, images, labels, seed=0)
    )
    assert found.values["latent_index"] is None and found.values["relative_flatness"] is None
    assert found.values["anomaly_index"] is not None and "latent_index" not in found.arrays


def test_triggered_images_are_refused():
    with pytest.raises(SpecError, match="a checkup knows of none"):
        next(Checkup(data="triggered_true").measure(*planted(), seed=0))
