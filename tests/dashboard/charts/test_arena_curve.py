"""Recorded ways of methods on one model."""

from __future__ import annotations

from dashboard.charts.arena_curve import curve_chart


def of(tables, attack):
    wanted = ("ft", "fst")
    rows = [row for row in tables["curves"] if row["attack"] == attack]
    return [row for row in rows if row["method"] in wanted]


def test_a_way_has_its_times_and_its_end(arena_tables):
    methods = arena_tables["about"]["methods"]
    chart = curve_chart(of(arena_tables, "wanet"), "asr", "seconds", methods)
    first, second = chart.figure["data"]
    assert first["x"] == [0.1, 5.0] and first["y"] == [95.0, 22.0]
    assert second["y"][-1] == 6.0 and chart.finding.endswith("FST at 6.0 %.")
    assert len(chart.rows) == 4
    assert curve_chart(of(arena_tables, "wanet"), "ca", "step", methods).figure["data"][0]["x"] == [
        0,
        100,
    ]


def test_a_benign_model_has_no_success_rate(arena_tables):
    methods = arena_tables["about"]["methods"]
    assert curve_chart(of(arena_tables, "none"), "asr", "step", methods).figure["data"] == []
