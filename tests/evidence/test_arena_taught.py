"""What benign networks are taught: every attack once for each benign model."""

from __future__ import annotations

from analysis.reactivation_words import CANNOT
from evidence import arena_taught
from evidence.shipped import write


def test_what_is_done_is_not_done_again(monkeypatch, tmp_path):
    monkeypatch.setattr(arena_taught, "PATH", tmp_path / "taught.json")
    whole = arena_taught.missing()
    assert len(whole) == len({*whole}) == 45 and not any("-none-" in one for one in whole)
    spec = arena_taught.specs()[0]
    write(arena_taught.PATH, {"rows": [{"attack": spec.attack.name, "seed": spec.seed}]})
    assert arena_taught.missing() == whole[1:]


def test_what_ships_is_whole():
    assert arena_taught.missing() == []
    assert all(row["asr"] >= row["asr_before"] - 0.01 for row in arena_taught.rows())


def test_the_words_on_reactivation_are_what_was_measured():
    by: dict[str, list[float]] = {}
    for row in arena_taught.rows():
        by.setdefault(row["attack"], []).append(row["asr"])
    assert "a third to over a half" in CANNOT and "next to nothing of most triggers" in CANNOT
    assert 0.3 < min(by["sig"]) < 0.36 and 0.5 < max(by["sig"]) < 0.65
    assert sum(max(values) < 0.03 for values in by.values()) > len(by) / 2
