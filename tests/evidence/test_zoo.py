"""The zoo that ships: complete, small, and what its cards say. The slow test measures every
card again.
"""

import json
import shutil

import numpy as np
import pytest

from ngf.places import ASSETS
from ngf.runs.folder import CARD, LOG, PREVIEW, TRIGGER
from ngf.runs.store import Store, TrainRun

ZOO = sorted(path.parent.name for path in (ASSETS / "zoo").glob("*/spec.json"))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


def test_the_zoo_is_what_its_specifications_say():
    from evidence.zoo import specs

    assert sorted(spec.id for spec in specs()) == ZOO
    assert sum(path.stat().st_size for path in (ASSETS / "zoo").rglob("*") if path.is_file()) < 25e6


@pytest.mark.parametrize("run_id", ZOO)
def test_every_zoo_run_is_complete(store, run_id):
    run = store.get(run_id)
    assert (run.source, run.status) == ("zoo", "done")
    assert run.spec.id == run_id
    result, card = run.result, json.loads((run.path / CARD).read_text(encoding="utf-8"))
    for name in ("ca", "asr", "ra", "n_clean", "n_triggered"):
        assert (
            card[name] == pytest.approx(result[name], abs=0.002)
            if result[name] is not None
            else card[name] is None
        )
    assert card["lambda_max"] > 0
    assert card["lambda_max_error"] < 0.01 * card["lambda_max"]
    assert 0 < card["trace_stderr"] < 0.25 * card["trace"]
    assert {"torch", "hardware"} <= set(card["environment"])
    with np.load(run.path / PREVIEW) as preview:
        assert preview["pairs"].shape == (6, 2, 32, 32, 3)
        assert (
            len(preview["says_clean"])
            == len(preview["says_triggered"])
            == len(preview["labels"])
            == 6
        )
    assert [event["step"] for event in run.events() if event["type"] == "epoch"][
        -1
    ] == run.spec.training.epochs


def test_nothing_of_it_is_missing():
    from evidence import cards, zoo

    assert zoo.missing() == cards.missing() == []


def test_a_model_ships_without_what_nobody_needs(monkeypatch, tmp_path, store):
    """A trigger that is a file ships, unless it is large; logs and checkpoints do not."""
    from evidence import zoo

    made = tmp_path / "run"
    shutil.copytree(store.get(zoo.specs()[1].id).path, made)
    (made / LOG).write_text("much")
    (made / TRIGGER).write_bytes(bytes(100))
    run = TrainRun(store, made, "user", zoo.specs()[1].id)
    monkeypatch.setattr(zoo, "ZOO", tmp_path / "zoo")
    monkeypatch.setattr(zoo, "trained", lambda store, spec: run)
    assert run.id in zoo.missing()
    zoo.make(run.id)
    there = {path.name for path in (tmp_path / "zoo" / run.id).iterdir()}
    assert there == set(zoo.SHIPPED) and run.id not in zoo.missing()
    monkeypatch.setattr(zoo, "LARGEST_TRIGGER", 99)
    shutil.rmtree(tmp_path / "zoo")
    zoo.make(run.id)
    assert not (tmp_path / "zoo" / run.id / TRIGGER).exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("run_id", ZOO)
def test_every_card_measured_again(store, run_id):
    from evidence.cards import card

    run = store.get(run_id)
    kept, now = json.loads((run.path / CARD).read_text(encoding="utf-8")), card(run)
    assert now["ca"] == pytest.approx(kept["ca"], abs=0.002)
    if kept["asr"] is not None:
        assert now["asr"] == pytest.approx(kept["asr"], abs=0.002)
    assert now["lambda_max"] == pytest.approx(kept["lambda_max"], rel=0.01)
    assert now["trace"] == pytest.approx(kept["trace"], abs=3 * kept["trace_stderr"])
