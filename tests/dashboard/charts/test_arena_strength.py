"""Three strengths of each method, the oracle's hollow."""

from __future__ import annotations

from dashboard.charts.arena_strength import strength_chart


def test_the_oracle_is_hollow_and_no_mean_has_it(arena_tables):
    chart = strength_chart(arena_tables["strengths"], arena_tables["about"]["methods"])
    default, rule, oracle = chart.figure["data"][1:]
    assert (default["x"], rule["x"], oracle["x"]) == ([20.0], [10.0], [5.0])
    assert oracle["marker"]["symbol"] == "circle-open" and rule["marker"]["symbol"] == "circle"
    assert chart.finding.startswith("By the rule SGD fine-tuning leaves the least, 10.0 %")
    assert chart.rows[0]["CA lost by an oracle (points)"] == 1.0


def test_a_rule_that_misses_much_is_told(arena_tables):
    (row,) = arena_tables["strengths"]
    chart = strength_chart([{**row, "rule_asr": 0.6}], arena_tables["about"]["methods"])
    assert "over 20 points less with SGD fine-tuning" in chart.finding
    alone = strength_chart([{**row, "oracle_asr": None}], arena_tables["about"]["methods"])
    assert alone.figure["data"][3]["x"] == []
