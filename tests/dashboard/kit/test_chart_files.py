"""The numbers behind a chart come back from its files, with what they are of."""

from __future__ import annotations

import io
import json
import shutil

import pandas as pd
import pytest

import ngf
from dashboard.charts.chart import make_chart
from dashboard.charts.race import race_chart
from dashboard.kit.chart_files import as_file, file_name, said_of
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"


@pytest.fixture
def going(tmp_path):
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    write_run(tmp_path, RACE, race_events(40))
    return Store(tmp_path).get(RACE.id)


def test_csv_comes_back_as_the_numbers_it_was_made_of():
    run = Store().get(RECORDED)
    chart = race_chart(run.spec, run.events())
    text = as_file("csv", chart, "race curves", [run])
    table = pd.read_csv(io.StringIO(text), comment="#")
    pd.testing.assert_frame_equal(table, chart.table, check_dtype=False)
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[0] == "# race curves" and text.startswith("\n".join(head))
    for said in (
        f"# run: {RECORDED}",
        "# seed: 0",
        "2,400 clean test images",
        "2,202 triggered ones",
        "500 clean images of the defender",
        f"torch {run.finished()['environment']['torch']}",
        "# repeat: python -m ngf purify signs-badnets-s0-36a7376469 --defense ngf --defense sgd",
        f"# written by: ngf {ngf.__version__}",
    ):
        assert any(said in line for line in head), said


def test_texts_with_a_comment_sign_come_back():
    rows = [{"Layer #": "a # b", "value": 1.5}, {"Layer #": '#"c"', "value": None}]
    text = as_file("csv", make_chart([], {}, rows, "Two\n=1+1"), "x", [])
    table = pd.read_csv(io.StringIO(text), comment="#")
    assert list(table["Layer #"]) == ["a # b", '#"c"'] and table["value"][0] == 1.5
    assert "# Two =1+1\n" in text


def test_json_says_the_same(going):
    chart = race_chart(RACE, going.events())
    document = json.loads(as_file("json", chart, "race curves", [going, going]))
    assert document["rows"] == json.loads(json.dumps(list(chart.rows)))
    assert document["finding"] == chart.finding
    assert document["figure"]["data"][0]["x"] == chart.figure["data"][0]["x"]
    (one,) = document["runs"]
    assert (one["run"], one["seed"], one["status"]) == (RACE.id, 0, "queued")
    assert [text.split()[3] for text in one["repeat"]] == ["train", "purify"]


def test_a_run_in_progress_is_called_partial(going):
    chart = race_chart(RACE, going.events())
    assert f"# run: {RACE.id}, PARTIAL: it is queued" in as_file("csv", chart, "x", [going])
    assert json.loads(as_file("json", chart, "x", [going]))["partial"] is True


def test_a_run_that_was_deleted_is_named(going):
    chart = race_chart(RACE, going.events())
    shutil.rmtree(going.path)
    text = as_file("csv", chart, "x", [going])
    assert f"# run: {RACE.id}, PARTIAL: it is deleted" in text


def test_files_are_called_what_they_hold(going):
    assert file_name("Loss slice, λmax", []) == "loss-slice-max"
    assert file_name("race curves", [going]) == f"race-curves.{RACE.id}"
    training = going.training()
    assert file_name("a/../b", [going, training]) == f"a-b.{RACE.id}-and-1-more"
    assert said_of("race curves", [going])[:2] == ["race curves", f"run {RACE.id}"]
