"""What methods are called."""

from __future__ import annotations

from dashboard.charts.arena_titles import arena_title


def test_a_method_is_called_by_its_defense_and_what_differs(arena_tables):
    methods = arena_tables["about"]["methods"]
    assert arena_title("ngf_strong", methods) == "NGF, all layers, radius 0.03"
    assert arena_title("ft_last", methods) == "SGD fine-tuning, last layer"
    assert arena_title("ft", methods) == "SGD fine-tuning"
    assert arena_title("gone", methods) == "gone"
