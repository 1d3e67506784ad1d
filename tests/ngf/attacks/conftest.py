"""What tests of attacks share and only read: images, a model to attack, a batch to train on."""

from dataclasses import replace

import pytest
import torch

from ngf.data import load, to_float
from ngf.training.attacker import AttackerView
from tests.helpers.attack_view import view


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    return to_float(load("signs").test.images[:24])


@pytest.fixture(scope="session")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return view().build().eval()


@pytest.fixture(scope="session")
def world(model) -> AttackerView:
    """The tiny view with one and the same model to attack."""
    return replace(view(), surrogate=lambda robust: model)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return to_float(view().train.images[:40]), view().train.labels[:40]
