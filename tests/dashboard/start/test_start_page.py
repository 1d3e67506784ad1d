"""The first page."""

from __future__ import annotations

from dashboard.charts.rates import RATES
from tests.helpers.pages import text


def test_start_tells_the_story_with_numbers_intervals_and_counts(open_page, store):
    page = open_page("start")
    shown = text(page)
    assert [item.label for item in page.metric] == [rate.name for rate in RATES]
    assert "What you just saw." in shown
    assert shown.count("[") >= 6, "every number has its interval"
    assert "clean test images" in shown and "triggered" in shown
