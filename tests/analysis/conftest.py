"""A store with a training and its purification; one thread, because all problems are tiny."""

from __future__ import annotations

import pytest
import torch

from ngf.checkpoints.weights import save_weights
from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.models import build
from ngf.runs.folder import RESULT, WEIGHTS, purified_weights
from ngf.runs.store import Store


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Tiny problems lose by sharing out each operation."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A store with a training and its purification, both with random weights."""
    root = tmp_path_factory.mktemp("measure")
    store = Store(root / "runs", root / "zoo")
    torch.manual_seed(0)
    model = build("preact_resnet_tiny", 12)
    trained = store.submit(TrainSpec(attack=Choice("badnets")))
    save_weights(model, trained.path / WEIGHTS)
    purified = store.submit(PurifySpec(parent=trained.id, lanes=(Choice("sgd"), Choice("sgd"))))
    for lane, factor in (("sgd", 1.1), ("sgd-2", 0.9)):
        model.linear.weight.data *= factor
        save_weights(model, purified.path / purified_weights(lane))
    for run in (trained, purified):
        (run.path / RESULT).write_text("{}")
    return store, trained, purified
