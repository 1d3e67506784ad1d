"""The zoo that ships: complete, small, and what its cards say. The slow test measures every
card again.
"""

import json

import numpy as np
import pytest

from ngf.config import PurifySpec, TrainSpec, spec_from_json
from ngf.places import ASSETS
from ngf.runs.folder import CARD, PREVIEW, SPEC
from ngf.runs.store import Run, Store

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


def test_the_recording_is_a_complete_race(store):
    path = ASSETS / "recordings" / "race"
    spec = spec_from_json(json.loads((path / SPEC).read_text(encoding="utf-8")))
    assert isinstance(spec, PurifySpec)
    assert isinstance(store.get(spec.parent).spec, TrainSpec)
    run = Run(store, path, "zoo")
    for lane in spec.lane_names():
        steps = [
            event["step"]
            for event in run.events()
            if event["type"] == "step" and event["lane"] == lane
        ]
        assert steps == list(range(101))
        assert lane in run.result["lanes"]


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
