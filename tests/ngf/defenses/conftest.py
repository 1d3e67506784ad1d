"""A model and clean images to purify it with."""

import copy
from dataclasses import replace

import pytest
import torch

from ngf import models
from ngf.data import load as load_data
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.loop import recalibrate


@pytest.fixture(scope="module")
def problem() -> Problem:
    splits = load_data("signs", num_clean=60)
    torch.manual_seed(0)
    model = models.build("preact_resnet_tiny", 12)
    recalibrate(model, splits.clean)
    return Problem(
        model,
        splits.clean,
        splits.validation.take(slice(0, 100)),
        seed=0,
        survives_flip=splits.source.facts["survives_flip"],
    )


@pytest.fixture
def wide(problem, monkeypatch) -> Problem:
    """The same in float64, images included."""
    for module in ("ngf.defenses.batches", "ngf.defenses.fine_tuning.loop", "ngf.defenses.fip"):
        monkeypatch.setattr(f"{module}.to_float", lambda images: images.double() / 255)
    return replace(problem, model=copy.deepcopy(problem.model).double())
