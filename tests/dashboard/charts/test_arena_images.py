"""Lines over the number of clean images."""

from __future__ import annotations

from dashboard.charts.arena_images import POISONED, images_chart


def test_fewer_images_leave_more(arena_tables):
    methods = arena_tables["about"]["methods"]
    chart = images_chart(arena_tables["images"], ["ft", "fst"], "asr", methods)
    first = chart.figure["data"][0]
    assert first["x"] == [100, 500] and first["y"] == [30.0, 20.0]
    assert "With 100 clean images the least is left by FST" in chart.finding


def test_fewer_poisoned_images_are_another_axis(arena_tables):
    methods = arena_tables["about"]["methods"]
    chart = images_chart(arena_tables["rates"], ["ft", "fst"], "asr", methods, POISONED)
    assert chart.figure["data"][0]["x"] == [0.01, 0.05]
    assert chart.figure["layout"]["xaxis"]["ticktext"] == ["1 %", "5 %"]
    assert "With 1 % poisoned the least is left by FST" in chart.finding
