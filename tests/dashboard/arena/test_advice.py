"""The answer in words: what the table says, and nothing more."""

from __future__ import annotations

from dashboard.arena.advice import Means, advice


def test_the_least_within_the_limits_is_advised(arena_tables):
    told = advice(arena_tables, Means(500, 60, 0.015))
    assert told.methods == ("ngf_all",)
    assert told.said.startswith("**NGF, all layers**: of the 3 methods that stay within 60 s")
    assert "5.0 %" in told.said and "3 attacks and 9 models, 500 clean images" in told.said
    dear = advice(arena_tables, Means(500, 60, 0.03))
    assert dear.methods == ("ngf_all", "fst") and "About as good" in dear.said
    assert advice(arena_tables, Means(500, 10, 0.015)).methods == ("ft",)


def test_with_fewer_images_the_nearest_smaller_number_counts(arena_tables):
    told = advice(arena_tables, Means(300, 60, 0.015))
    assert "100 clean images" in told.said and "only 3 attacks were measured" in told.limits[0]
    few = advice(arena_tables, Means(20, 60, 0.015))
    assert few.limits[0] == "Nothing was measured with fewer than 100 clean images."


def test_limits_that_nothing_meets_name_the_nearest(arena_tables):
    told = advice(arena_tables, Means(500, 1, 0.0))
    assert told.methods == ()
    assert "Nearest is SGD fine-tuning, last layer: 2 s and 0.0 points" in told.said


def test_a_method_that_lacks_attacks_is_not_compared(arena_tables):
    for row in arena_tables["methods"]:
        row["attacks"] = 2 if row["method"] == "ngf_all" else 3
    assert advice(arena_tables, Means(500, 60, 0.03)).methods == ("fst",)
