"""Addresses: typed values, bounds, and what is ignored."""

from __future__ import annotations

from dashboard.kit import url


def test_parse_is_typed_and_clamps():
    values, ignored = url.parse(
        "lab", {"seed": ["7"], "num_clean": ["3"], "view": ["train"], "lane": ["a", "a"]}
    )
    assert (values["seed"], values["num_clean"], values["view"], values["lane"]) == (
        7,
        10,
        "train",
        ("a",),
    )
    assert len(ignored) == 1 and "Allowed: 10 to 5000" in ignored[0]
    assert url.address("lab", values) == {
        "seed": "7",
        "num_clean": "10",
        "view": "train",
        "lane": ["a"],
    }


def test_a_filter_without_a_choice_is_not_in_the_address():
    """What a widget for several values holds then is an empty list, and the default a tuple."""
    assert url.address("runs", {"attack": [], "kind": ["train"]}) == {"kind": ["train"]}
