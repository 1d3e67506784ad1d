"""Lanes of runs in words, and as rows of the file that the Runs page gives."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from dashboard.runs.lanes import say_lanes, sheet
from ngf.runs.files import to_json
from ngf.runs.folder import RESULT
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, write_run

RATES = {"ca": 0.986, "asr": 0.004, "ra": 0.98, "n_clean": 2400, "ca_interval": [0.981, 0.99]}


@pytest.fixture
def race(store: Store):
    write_run(store.root, TRAIN, [], done=True)
    write_run(store.root, RACE, [])
    return store.get(RACE.id)


def test_a_race_is_told_lane_by_lane(race, store: Store) -> None:
    assert say_lanes(race.rows()) == "NGF: not measured yet; SGD: not measured yet"
    lanes = {"ngf": {"after": RATES}, "sgd": {"diverged": {"step": 3, "message": "No."}}}
    write_result(race.path, lanes)
    said = say_lanes(race.rows())
    assert said == "NGF: CA 98.6 %, ASR 0.4 %, RA 98.0 %; SGD: diverged at step 3"
    assert say_lanes(store.get(TRAIN.id).rows()) == ""


def test_the_file_has_a_row_for_each_lane(race, store: Store) -> None:
    lanes = {"ngf": {"after": RATES, "lr": 0.01}, "sgd": {"after": {**RATES, "ca": 0.5}}}
    write_result(race.path, lanes)
    rows = [row for run in (race, store.get(TRAIN.id)) for row in run.rows()]
    found = list(csv.DictReader(io.StringIO(sheet(rows).to_csv(index=False))))
    assert [(row["id"], row["lane"], row["ca"]) for row in found] == [
        (RACE.id, "ngf", "0.986"),
        (RACE.id, "sgd", "0.5"),
        (TRAIN.id, "", "0.986"),
    ]
    assert found[0]["ca_low"] == "0.981" and found[0]["ca_high"] == "0.99"
    assert found[0]["lr"] == "0.01" and found[1]["lr"] == ""
    assert found[0]["num_clean"] == "500" and found[2]["num_clean"] == ""


def write_result(path: Path, lanes: dict) -> None:
    found = {"before": RATES, "after": lanes["ngf"]["after"], "lanes": lanes}
    (path / RESULT).write_text(to_json(found), encoding="utf-8")
