"""The order of the methods, and what is not told apart."""

from __future__ import annotations

from dashboard.charts.arena_ranks import rank_chart


def test_ranks_have_the_best_on_top_and_name_what_is_alike(arena_tables):
    methods = arena_tables["about"]["methods"]
    chart = rank_chart(arena_tables["methods"], methods)
    assert [trace["name"] for trace in chart.figure["data"]][0] == "NGF, all layers"
    assert "no other interval reaches it" in chart.finding
    near = [dict(row, rank_low=1.0) for row in arena_tables["methods"]]
    assert "intervals that overlap with it: FST" in rank_chart(near, methods).finding
