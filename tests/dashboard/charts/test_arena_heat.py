"""Cells of the map: where they stand, and what their colors say."""

from __future__ import annotations

import pytest

from dashboard.charts.arena_heat import OF_A_TRIGGER, QUANTITIES, attacks_of, heat_chart, undecided
from tests.helpers.arena_rows import LEFT


@pytest.mark.parametrize("what", QUANTITIES)
def test_a_cell_is_where_its_method_and_attack_meet(arena_tables, what):
    methods = arena_tables["about"]["methods"]
    names, attacks = list(LEFT), attacks_of(arena_tables["cells"])
    chart = heat_chart(arena_tables["cells"], names, attacks, what, methods)
    (heat,) = chart.figure["data"]
    assert attacks[-1] == "none" and len(heat["z"]) == 4 and len(heat["z"][0]) == 4
    assert all(v is None or 0 <= v <= 1 for row in heat["z"] for v in row)
    assert "NGF, all layers" in heat["customdata"][3][0]
    assert len(chart.table) == 16
    title = chart.figure["layout"]["xaxis"]["ticktext"][-1]
    if what in OF_A_TRIGGER:
        assert title == "Benign: CA lost" and heat["text"][0][-1] == "+1.0"
    else:
        assert title == "Benign" and heat["text"][0][-1]


def test_colors_say_more_where_more_is_left(arena_tables):
    methods = arena_tables["about"]["methods"]
    chart = heat_chart(
        arena_tables["cells"], ["ngf_all", "ft", "ft_last"], ["badnets"], "asr", methods
    )
    (a,), (b,), (c,) = chart.figure["data"][0]["z"]
    assert a < b < c
    assert chart.figure["data"][0]["text"] == [["5.0"], ["22"], ["91"]]
    assert "NGF, all layers leaves at most 10 % of attack success on every model of 3 of 3" in (
        chart.finding
    )


def test_models_on_both_sides_leave_a_cell_undecided(arena_tables):
    methods = arena_tables["about"]["methods"]
    row = dict(arena_tables["cells"][0], method="ft", attack="badnets", asr_low=0.02, asr_high=0.5)
    assert undecided(row) and not undecided(dict(row, asr_high=0.1))
    assert not undecided(dict(row, asr_low=None, asr_high=None))
    chart = heat_chart([row], ["ft"], ["badnets"], "asr", methods)
    assert chart.figure["data"][0]["text"][0][0].endswith("±")


def test_a_reactivation_stands_beside_what_benign_networks_are_taught(arena_tables):
    methods, cells = arena_tables["about"]["methods"], arena_tables["cells"]
    taught = arena_tables["taught"]
    of = (cells, ["ft"], ["wanet", "none"])
    (heat,) = heat_chart(*of, "asr_reactivated", methods, taught).figure["data"]
    assert (
        heat["text"][1] == ["10", ""] and "3 models that never had it" in heat["customdata"][1][0]
    )
    assert len(heat_chart(*of, "asr", methods, taught).figure["data"][0]["z"]) == 1
    much = [{**row, "asr": 0.5} for row in taught]
    said = heat_chart(*of, "asr_reactivated", methods, much).finding
    assert "WaNet 50" in said and "beyond that was there" in said


def test_a_method_that_lacks_attacks_is_not_called_one_of_the_best(arena_tables):
    methods, cells = arena_tables["about"]["methods"], arena_tables["cells"]
    few = [row for row in cells if row["method"] != "fst" or row["attack"] == "wanet"]
    of = (["ngf_all", "fst"], ["wanet", "blend"], "asr", methods)
    assert "and" not in heat_chart(few, *of).finding.split("leaves")[0]
    assert heat_chart(cells, *of).finding.startswith("NGF, all layers, FST leave at most")
