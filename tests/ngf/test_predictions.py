import random

import pytest
import torch
from torch import nn

from ngf import evaluate, predictions
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import NUM_LIVE
from ngf.data import load
from ngf.finite import Diverged
from ngf.predictions import AGREEMENT, predict, predict_quickly, quickest
from ngf.runs.store import Store, TrainRun


class Given(nn.Module):
    """Gives each image, whose first pixel is its number, a row of logits."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        numbers = (images[:, 0, 0, 0] * 255).round().long()
        one_hot = nn.functional.one_hot(numbers, len(self.logits)).to(self.logits)
        return one_hot @ self.logits  # in bfloat16 inside autocast


def numbered(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)


CLOSE = [[0.0, 10.01, 10.0], [10.0, 0.0, 10.01], [10.01, 0.0, 10.0]]  # all 10 in bfloat16


def test_what_is_in_doubt_is_predicted_in_float32():
    model = Given([*CLOSE, [0.0, 5.0, 9.0]])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(predictions.to_float(numbered(3))).float()
    assert torch.equal(rounded[:, :3].max(1).values, torch.full((3,), 10.0))  # no telling apart
    assert predict_quickly(model, numbered(4)).tolist() == [1, 2, 0, 2]


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_outputs_that_are_no_numbers_are_told_as_in_float32(broken):
    with pytest.raises(Diverged):
        predict_quickly(Given([[0.0, 1.0, 2.0], [0.0, broken, 1.0]]), numbered(2))


def test_the_mode_of_the_model_is_restored():
    model = Given(CLOSE).train()
    predict_quickly(model, numbered(3))
    assert model.training


class OtherInBfloat16(Given):
    """Sure of itself, and of another class in bfloat16."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images)
        return logits.flip(1) if torch.is_autocast_enabled("cpu") else logits


def test_the_quick_form_is_taken_where_it_pays_and_agrees(monkeypatch):
    sure = [[0.0, 5.0, 9.0]] * 4
    monkeypatch.setattr(predictions, "_has_bfloat16", lambda where: True)
    assert quickest(Given(sure), numbered(4)) is predict_quickly
    assert quickest(OtherInBfloat16(sure), numbered(4)) is predict
    monkeypatch.setattr(predictions, "_has_bfloat16", lambda where: False)
    assert quickest(Given(sure), numbered(4)) is predict


def agrees(store: Store, run: TrainRun) -> bool:
    """Whether both forms give a model of the zoo, and its images, the same classes."""
    live = evaluate.test_set(load(run.spec.data), load_attack(run), NUM_LIVE)
    model = load_model(store, run.id).model
    shares = (
        (predict(model, images) == predict_quickly(model, images)).float().mean()
        for images in live.sets
    )
    return all(share >= AGREEMENT for share in shares)


def zoo(store: Store) -> list[TrainRun]:
    return [run for run in store.trainings() if run.source == "zoo"]


def test_it_agrees_on_a_model_of_every_attack_and_data_set_of_the_zoo():
    """One of each, drawn: the images differ by attack and data, the models by these and a seed."""
    store, kinds = Store(), {}
    for run in zoo(store):
        kinds.setdefault((run.spec.data, run.spec.attack.name), []).append(run)
    assert len(kinds) > 16
    rng = random.Random(0)
    drawn = [rng.choice(kinds[kind]) for kind in sorted(kinds)]
    assert not [run.id for run in drawn if not agrees(store, run)]


@pytest.mark.slow
def test_it_agrees_on_every_model_of_the_zoo():
    store = Store()
    runs = zoo(store)
    assert len(runs) > 70
    assert not [run.id for run in runs if not agrees(store, run)]
