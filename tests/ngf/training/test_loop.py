"""The learning rate of the training loop, and the gates after it."""

import pytest
import torch

from ngf.config import Training
from ngf.data.images import Images
from ngf.evaluate import Rates
from ngf.finite import Diverged
from ngf.training.loop import Trainer, missed_gates, one_cycle


def test_one_cycle_rises_and_falls():
    rates = [one_cycle(k / 100, 0.1) for k in range(100)]
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates[0] < 0.01 and rates[-1] < 0.001
    assert rates.index(max(rates)) == 25


def test_a_gate_is_missed_below_it_and_not_at_it():
    settings = Training(min_ca=0.8, min_asr=0.6)
    (missed,) = missed_gates(Rates(95, 100, 10, 80, 100), settings)
    assert missed["gate"] == "min_asr" and missed["value"] == 0.1 and missed["wanted"] == 0.6
    assert "succeeds on 10.0% of 100 triggered test images; at least 60%" in missed["reason"]
    (missed,) = missed_gates(Rates(79, 100, 60, 0, 100), settings)
    assert missed["gate"] == "min_ca" and "79.0% on 100 test images" in missed["reason"]
    both = missed_gates(Rates(0, 100, 0, 0, 100), settings)
    assert [item["gate"] for item in both] == ["min_ca", "min_asr"]
    assert missed_gates(Rates(80, 100, 60, 0, 100), settings) == []
    assert missed_gates(Rates(80, 100), settings) == [], "a benign model has no attack"


def test_the_last_update_is_checked_though_no_loss_follows():
    """One batch, one step: its loss is that of the model before."""
    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    settings = Training(num_images=16, epochs=1, batch_size=16)
    object.__setattr__(settings, "lr", 8e39)
    trainer = Trainer(model, Images(images, torch.zeros(16).long()), settings, seed=0)
    with pytest.raises(Diverged, match=r"1.bias.* are not finite numbers at epoch 1\."):
        next(iter(trainer))
