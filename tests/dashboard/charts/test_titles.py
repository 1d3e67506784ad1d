"""What plug-ins, models and lanes are called."""

from __future__ import annotations

import pytest

from dashboard.charts.subject import BACKDOORED, BENIGN
from dashboard.charts.titles import lane_title, short, title
from ngf.catalogue import catalogue
from tests.helpers.made_up_charts import NGF


def test_what_models_and_lanes_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = ("ngf", "sgd-2", "adam", "ngf_as_released", "old_idea_gone", "xyz")
    assert [lane_title(lane) for lane in lanes] == [
        "NGF",
        "SGD (2)",
        "Adam",
        "NGF as released",
        "Old idea gone",
        "XYZ",
    ]
    assert [(who.title, who.phrase) for who in (BENIGN, BACKDOORED, NGF)] == [
        ("Benign", "the benign model"),
        ("Backdoored", "the backdoored model"),
        ("Purified by NGF", "the model purified by NGF"),
    ]


def test_a_short_name_is_the_full_one_where_two_would_be_called_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (title("attacks", "badnets"), short("attacks", "badnets")) == (
        "BadNets (patch)",
        "BadNets",
    )
    assert short("attacks", "no_such") == title("attacks", "no_such") == "no such"
    twins = {name: {"title": f"Same ({name})", "short": "Same"} for name in ("one", "two")}
    monkeypatch.setattr("dashboard.charts.titles.catalogue", lambda: {"attacks": twins})
    assert short("attacks", "one") == "Same (one)"


def test_every_entry_of_the_catalogue_has_a_short_name() -> None:
    for kind, entries in catalogue().items():
        for name, about in entries.items():
            assert about["short"] and about["title"].startswith(about["short"]), (kind, name)
            assert "(" not in about["short"]
