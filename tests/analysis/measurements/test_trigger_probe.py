"""The probe of a trigger: its rates, the size of the change, and what it refuses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from analysis.measurements.trigger_probe import TriggerProbe, ssim
from ngf import models
from ngf.attacks.poison import trigger_test_set
from ngf.attacks.shared.drawing import encode
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import load, to_float
from ngf.evaluate import TestSet
from ngf.options import SpecError

FAINT = encode(np.full((3, 3, 4), 1, np.uint8))  # of which each pixel is almost transparent


def slow_ssim(x: torch.Tensor, y: torch.Tensor) -> float:
    """Window by window, as the formula stands. x, y: float64 (H, W)."""
    weights = torch.tensor(
        [math.exp(-((k - 5) ** 2) / 4.5) for k in range(11)], dtype=torch.float64
    )
    weights = torch.outer(weights, weights)
    weights /= weights.sum()
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            m, n = (weights * p).sum(), (weights * q).sum()
            s, t, st = (
                (weights * a).sum() for a in ((p - m) ** 2, (q - n) ** 2, (p - m) * (q - n))
            )
            found.append(
                (2 * m * n + 1e-4) * (2 * st + 9e-4) / ((m * m + n * n + 1e-4) * (s + t + 9e-4))
            )
    return float(torch.stack(found).mean())


def test_ssim_is_its_definition():
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(2, 2, 15, 19, dtype=torch.float64, generator=generator)
    y = (x + 0.2 * torch.rand(x.shape, dtype=torch.float64, generator=generator)).clamp(0, 1)
    expected = [np.mean([slow_ssim(x[k, c], y[k, c]) for c in range(2)]) for k in range(2)]
    assert ssim(x, y).tolist() == pytest.approx(expected, abs=1e-12)
    assert ssim(x, x).tolist() == pytest.approx([1, 1], abs=1e-12)


@pytest.fixture(scope="module")
def signs():
    return load("signs").test.take(slice(0, 150))


def test_the_probe_finds_the_rates_of_the_evaluation(signs):
    torch.manual_seed(0)
    model = models.build("preact_resnet_tiny", 12).eval()
    attack = build("attacks", Choice("badnets", {"size": 6}))
    probe = TriggerProbe(attack='{"name": "badnets", "size": 6}')
    *_, last = probe.measure(model, to_float(signs.images), signs.labels, seed=0)
    rates = TestSet(signs, trigger_test_set(signs, attack, 12)).evaluate(model)
    assert (last.values["asr"], last.values["ca"]) == (rates.asr, rates.ca)
    assert last.values["n_triggered"] == rates.n_triggered
    assert [last.values["asr_low"], last.values["asr_high"]] == rates.to_json()["asr_interval"]
    assert (
        last.arrays["called"].sum() == rates.n_triggered
        and last.arrays["called"][1] == rates.target_hits
    )
    assert last.arrays["clean"].shape == last.arrays["residual"].shape == (12, 32, 32, 3)
    assert len(set(last.arrays["labels"].tolist())) == 11, (
        "one of each class that counts before a second of any"
    )


def test_the_probe_measures_the_residual(signs):
    model = models.build("preact_resnet_tiny", 12).eval()
    gray = signs.take(slice(0, 20))
    gray.images.fill_(100)
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (151, 100, 100, 255)  # one number of one pixel, 51 of 255 more
    text_of_it = json.dumps({"name": "drawn", "drawing": encode(pixels)})
    *_, last = TriggerProbe(attack=text_of_it).measure(
        model, to_float(gray.images), gray.labels, seed=0
    )
    assert last.values["linf"] == pytest.approx(0.2, abs=1e-6)
    assert last.values["l2"] == pytest.approx(0.2, abs=1e-6)
    assert 0.9 < last.values["ssim"] < 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attack": "nonsense"}, "attack is not JSON"),
        ({"attack": '{"name": "bad"}'}, "Unknown attack 'bad'. Allowed: "),
        ({"attack": '{"name": "none"}'}, "no trigger before a training"),
        ({"attack": '{"name": "badnets", "size": 99}'}, "out of range"),
        ({"attack": '{"name": "drawn", "row": 31}'}, "does not fit into an image of 32x32"),
        (
            {"attack": '{"name": "sig", "frequency": 16}'},
            "zero in every one of 32 columns",
        ),
        (
            {"attack": json.dumps({"name": "drawn", "drawing": FAINT, "alpha": 0.5})},
            r"changes 0 of 3,072 values in 8 bits .*Paint in other colors",
        ),
        ({"data": "triggered_true"}, "Allowed: clean, train, validation"),
        ({"attack": '{"name": "badnets", "target": 40}'}, "Target class 40 does not exist"),
    ],
)
def test_the_probe_says_what_is_wrong(signs, options, words):
    model = models.build("preact_resnet_tiny", 12)
    with pytest.raises(SpecError, match=words):
        next(TriggerProbe(**options).measure(model, to_float(signs.images), signs.labels, seed=0))
