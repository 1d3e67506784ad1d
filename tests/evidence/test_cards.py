"""What a card says of what opens a backdoor is measured on the model and the test images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from evidence import cards
from ngf.attacks.opens import figures, opens
from ngf.checkpoints.weights import load_attack, load_model
from ngf.data import load
from ngf.places import ZOO
from ngf.runs.store import Store


@pytest.fixture(scope="module")
def test():
    return load("signs").test.take(slice(0, 60))


def test_a_card_holds_what_opens_the_backdoor(monkeypatch, store_of_trained, trained, test):
    few = SimpleNamespace(test=test, classes=list(range(12)))
    monkeypatch.setattr(cards, "load", lambda data, seed: few)
    run = store_of_trained.get(trained.id)
    attack = load_attack(run)
    assert cards.opening(run) == {
        "opens": opens(attack, load_model(store_of_trained, run.id).model, test, 12),
        "figures": figures(attack, test),
    }


def test_the_card_of_a_benign_model_says_nothing_of_it(tmp_path):
    (benign,) = ZOO.glob("signs-none-s0-*")
    assert cards.opening(Store(tmp_path / "runs").get(benign.name)) == {}
