"""Rows of runs: one for each lane, from what the folder says and nothing else."""

from __future__ import annotations

import json
from itertools import pairwise

from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.places import RECORDINGS
from ngf.runs.files import read_json, to_json
from ngf.runs.folder import RESULT
from ngf.runs.recorded import RACE as RECORDED
from ngf.runs.store import Store, open_run

LANES = (Choice("ngf", {"steps": 40}), Choice("sgd"), Choice("sgd", {"lr": 0.5}))


def rates(ca: float) -> dict:
    return {
        "ca": ca,
        "asr": 0.03,
        "ra": 0.8,
        "n_clean": 2400,
        "n_triggered": 2202,
        "ca_interval": [ca - 0.01, ca + 0.01],
        "asr_interval": [0.02, 0.04],
        "ra_interval": [0.7, 0.9],
    }


def test_a_race_is_as_many_rows_as_it_has_lanes(store: Store) -> None:
    train = store.submit(TrainSpec(attack=Choice("blend"), seed=3))
    race = store.submit(PurifySpec(parent=train.id, lanes=LANES, seed=5, num_clean=300))
    before = race.rows()  # queued: what was asked for
    assert [row["target"] for row in before] == [
        f"{race.id}:{lane}" for lane in ("ngf", "sgd", "sgd-2")
    ]
    assert [row["steps"] for row in before] == [40, None, None]
    assert [row["lr"] for row in before] == [None, None, 0.5]
    assert {row["ca"] for row in before} == {None}
    stop = {"step": 3, "message": "The loss is not a number any more.", "advice": "Smaller."}
    result = {
        "before": rates(1.0),
        "after": rates(0.9),
        "der": 0.9,
        "lanes": {
            "ngf": {"after": rates(0.9), "der": 0.9, "layer": "stem", "lr": 0.01, "steps": 40}
            | {"seconds": 4.3},
            "sgd": {"after": rates(0.7), "der": 0.7, "layer": "all", "lr": 0.05, "steps": 100}
            | {"seconds": 3.1},
            "sgd-2": {"layer": "all", "lr": 0.5, "steps": 100, "seconds": 0.1, "diverged": stop},
        },
        "environment": {"ngf": "0.1.0", "device": "cpu"},
    }
    (race.path / RESULT).write_text(to_json(result))
    rows = race.rows()
    assert [row["ca"] for row in rows] == [0.9, 0.7, None]
    assert [row["ca_interval"] for row in rows] == [[0.89, 0.91], [0.69, 0.71], None]
    assert [row["layer"] for row in rows] == ["stem", "all", "all"]
    assert [row["lr"] for row in rows] == [0.01, 0.05, 0.5]
    assert [row["seconds"] for row in rows] == [4.3, 3.1, 0.1]
    assert [row["diverged"] for row in rows] == [None, None, stop]
    for row in rows:
        assert (row["id"], row["seed"], row["num_clean"]) == (race.id, 5, 300)
        assert (row["attack"], row["version"], row["device"]) == ("blend", "0.1.0", "cpu")
    assert [row["defense"] for row in rows] == ["ngf", "sgd", "sgd"]
    assert all(a.keys() == b.keys() for a, b in pairwise(rows + before))
    assert json.loads(json.dumps(rows)) == rows
    summary = race.summary()
    assert summary["defense"] == "ngf, sgd, sgd-2"
    assert [summary[name] for name in ("ca", "asr", "ra")] == [None] * 3  # of no lane


def test_other_runs_are_one_row(store: Store) -> None:
    train = store.submit(TrainSpec(attack=Choice("blend"), seed=3))
    weak = {"reason": "Its clean accuracy is 50 %."}
    (train.path / RESULT).write_text(to_json({**rates(0.5), "seconds": 77.5, "weak": weak}))
    (row,) = train.rows()
    assert (row["target"], row["lane"], row["ca"], row["seconds"]) == (train.id, "", 0.5, 77.5)
    assert (row["lr"], row["steps"], row["weak"]) == (0.1, 20, weak["reason"])
    measure = store.submit(MeasureSpec(target=train.id, measurement=Choice("fisher_trace")))
    (measure.path / RESULT).write_text(to_json({"values": {"seconds": 2.5}, "complete": True}))
    (of_measure,) = measure.rows()
    assert (of_measure["target"], of_measure["seconds"], of_measure["ca"]) == (None, 2.5, None)
    assert of_measure.keys() == row.keys()


def test_a_result_of_one_lane_without_lanes(store: Store) -> None:
    alone = store.submit(PurifySpec(parent="gone", lanes=(Choice("ngf"),)))
    (alone.path / RESULT).write_text(to_json({"after": rates(0.9)}))
    assert [row["ca"] for row in alone.rows()] == [0.9] and alone.summary()["ca"] == 0.9


def test_the_recording_that_ships(store: Store) -> None:
    path = RECORDINGS / RECORDED.id
    found = read_json(path / RESULT)["lanes"]
    rows = open_run(store, path, "shipped").rows()
    assert len(rows) == len(found) >= 2
    for row in rows:
        lane = found[row["lane"]]
        assert [row[name] for name in ("ca", "asr", "ra")] == [
            lane["after"][name] for name in ("ca", "asr", "ra")
        ]
        assert row["n_triggered"] == lane["after"]["n_triggered"] and row["version"]
