"""The tables along an axis, from rows whose effects are known."""

from __future__ import annotations

import pytest

from evidence import arena, arena_axes, arena_rates, arena_strength
from evidence.arena_table import tables
from tests.helpers.arena_rows import LEFT, put_files


@pytest.fixture
def found(monkeypatch, tmp_path):
    put_files(monkeypatch, tmp_path)
    return tables()


def test_numbers_of_images_are_of_the_same_models(found):
    by = {(row["method"], row["num_clean"]): row for row in found["images"]}
    assert by["ft", 100]["asr"] == pytest.approx(0.3) and by["ft", 500]["asr"] == 0.2
    assert {row["models"] for row in found["images"]} == {3}


def test_rates_are_in_their_order(found):
    assert [row["poison_rate"] for row in found["rates"]] == [0.01] * len(LEFT) + [0.05] * len(LEFT)
    by = {(row["method"], row["poison_rate"]): row for row in found["rates"]}
    assert by["ft", 0.01]["asr"] == pytest.approx(0.3) and by["ft", 0.05]["asr"] == 0.2
    assert by["ft", 0.05]["asr_before"] == 0.95


def test_what_a_benign_network_is_taught_is_told_by_attack(found):
    row = found["taught"][0]
    assert [one["attack"] for one in found["taught"]] == sorted(arena.SOME)
    assert row["asr"] == pytest.approx(0.1) and (row["asr_low"], row["asr_high"]) == (0.0, 0.2)
    assert row["models"] == 3 and arena_axes.taught([]) == []


def test_one_rate_alone_is_no_axis():
    assert arena_axes.rates(row for row in arena_rates.rows() if row["poison_rate"] == 0.1) == []


def test_the_rule_stands_beside_an_oracle_that_sees_the_attack(found):
    (row,) = found["strengths"]
    assert row["method"] == "ft" and row["models"] == 3 and not row["rule_is_default"]
    assert row["default_asr"] == pytest.approx(0.2) and row["rule_asr"] == pytest.approx(0.1)
    assert row["rule_lost"] == pytest.approx(0.005)
    # a quarter at exactly one point; what leaves nothing costs nine, and one diverged
    assert row["oracle_asr"] == pytest.approx(0.05) and row["oracle_lost"] == pytest.approx(0.01)
    assert row["oracle_models"] == 3


def test_a_method_is_told_when_all_of_it_is_there(found):
    rows = arena_strength.rows()
    assert arena_axes.strengths(arena.rows(), [row for row in rows if row["how"] != "rule"]) == []
    assert arena_axes.strengths((), rows) == [], "without its default"


def test_where_no_strength_stays_within_a_point_there_is_no_oracle(found):
    harmful = [{**row, "ca": 0.5} if "ca" in row else row for row in arena_strength.rows()]
    usual = [{**row, "ca": 0.5} for row in arena.rows()]
    (row,) = arena_axes.strengths(usual, harmful)
    assert row["oracle_asr"] is None and row["oracle_models"] == 0
    assert row["rule_asr"] == pytest.approx(0.1)


def test_what_prunes_applies_the_rule_by_default(monkeypatch, tmp_path):
    one = {"run": "a", "method": "clp", "ca": 0.95, "asr": 0.5, "before": {"ca": 0.97}}
    values = arena_strength.swept("clp")
    tried = [{**one, "how": "sweep", "value": value, "asr": 0.3} for value in values]
    (row,) = arena_axes.strengths([{**one, "seed": 0, "num_clean": 500}], tried)
    assert row["rule_is_default"] and row["rule_asr"] == row["default_asr"] == 0.5
