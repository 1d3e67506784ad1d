"""The models of the arena of which fewer images were poisoned."""

from __future__ import annotations

from evidence import arena_rates
from evidence.shipped import write


def test_rates_are_lower_than_that_of_the_zoo(monkeypatch, tmp_path):
    monkeypatch.setattr(arena_rates, "FOLDER", tmp_path)
    usual = arena_rates.rows()[0]["poison_rate"]
    found = [spec.attack.options["poison_rate"] for spec in arena_rates.specs()]
    assert found == sorted(found) and max(found) < usual
    spec = arena_rates.specs()[0]
    write(arena_rates.path_of(spec.id), {"rows": [{"method": "ft", "seed": 0, "num_clean": 500}]})
    assert len(arena_rates.todo(spec)) == len(list(arena_rates.planned())) - 1
