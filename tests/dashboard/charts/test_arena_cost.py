"""What no other method beats in both."""

from __future__ import annotations

from dashboard.charts.arena_cost import cost_chart, pareto


def test_the_front_is_what_no_other_beats(arena_tables):
    methods = arena_tables["about"]["methods"]
    assert pareto(arena_tables["methods"]) == {"ft_last", "ngf_all"}
    chart = cost_chart(arena_tables["methods"], arena_tables["models"], methods)
    shown = [trace for trace in chart.figure["data"] if trace.get("mode") == "markers+text"]
    assert {trace["name"] for trace in shown} == {
        "NGF, all layers",
        "SGD fine-tuning, last layer",
    }
