"""The table of README.md about the arena, from rows whose effects are known."""

from __future__ import annotations

from evidence import arena_table, readme_arena
from tests.helpers.arena_rows import put_files


def test_the_best_rank_comes_first_and_the_total_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(arena_table, "PATH", tmp_path / "arena.json")
    monkeypatch.setattr(readme_arena, "ARENA", tmp_path / "arena.json")
    assert readme_arena.arena() == "Not measured yet."
    put_files(monkeypatch, tmp_path / "rows")
    arena_table.make("arena.json")
    said = readme_arena.arena()
    words = " ".join(said.split())
    assert "that are planned) of 12 models, 3 attacks and benign ones" in words
    rows = [line for line in said.splitlines() if line.startswith("| ")][1:]
    assert rows[0].startswith("| NGF, all layers | 1.0 (1.0 to 1.0) | 5.0 | 35.0 | 100.0 | 0.5 |")
    assert rows[0].endswith("| 14 | 3, 9 |")
    assert rows[-1].startswith("| SGD fine-tuning, last layer | 4.0 (4.0 to 4.0) |")
