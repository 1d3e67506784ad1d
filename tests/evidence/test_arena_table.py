"""The tables of the arena, from rows whose effects are known."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from evidence import arena, arena_table
from evidence.arena_table import ranks, tables
from evidence.shipped import write
from tests.helpers.arena_rows import ATTACKS, LEFT, MODELS, file, put_files


@pytest.fixture
def found(monkeypatch, tmp_path):
    put_files(monkeypatch, tmp_path)
    return tables()


def test_a_method_is_its_mean_over_attacks(found):
    by = {row["method"]: row for row in found["methods"]}
    assert list(by) == [name for name in arena.METHODS if name in LEFT]
    for name, (asr, lost, seconds) in LEFT.items():
        row = by[name]
        more = 0.02 if name == "ft" else 0.01
        assert row["asr"] == pytest.approx(asr + more) and row["seconds"] == seconds
        assert row["ca_lost"] == row["benign_ca_lost"] == pytest.approx(lost)
        assert row["sharpness"] == 0.5 and row["models"] == MODELS * 3 and row["attacks"] == 3
    assert by["ngf_all"]["gone"] == 1 and by["ft_last"]["gone"] == 0
    assert by["ngf_all"]["gone_with_every_model"] == 3


def test_ranks_and_differences_follow_what_is_left(found):
    by = {row["method"]: row for row in found["methods"]}
    order = sorted(by, key=lambda name: by[name]["rank"])
    assert order == ["ngf_all", "fst", "ft", "ft_last"]
    assert [by[name]["rank"] for name in order] == [1, 2, 3, 4]
    assert by["ngf_all"]["more"] is None, "it is what others are compared with"
    assert by["ft"]["more"] == pytest.approx(0.17)


def test_a_part_is_a_difference_on_the_same_models(found):
    (part,) = found["parts"]
    assert (part["one"], part["other"], part["models"]) == ("ngf_all", "ngf_weak", 9)
    assert part["asr"] == pytest.approx(0.05 - 0.32) and part["asr_high"] < 0
    assert part["ca_lost"] == pytest.approx(0.004)
    assert "ngf_weak" not in {row["method"] for row in found["cells"]}


def test_an_attack_alone_has_no_rank(found):
    one = pd.DataFrame(
        [{"attack": "badnets", "method": name, "asr": LEFT[name][0]} for name in LEFT]
    )
    assert ranks(one) == {}


def test_cells_have_the_lowest_and_highest_model(found):
    cells = {(row["attack"], row["method"]): row for row in found["cells"]}
    assert len(cells) == len(ATTACKS) * len(LEFT)
    cell = cells["badnets", "ft"]
    assert (cell["asr_low"], cell["asr_high"]) == (0.2, 0.24)
    assert cells["none", "ft"]["asr"] is None and cells["none", "ft"]["ca_lost"] == 0.01


def test_what_failed_is_counted(monkeypatch, tmp_path):
    monkeypatch.setattr(arena, "FOLDER", tmp_path)
    one = file("badnets", 1)
    lost = {"method": "ft", "seed": 1, "num_clean": 500, "diverged": 3, "seconds": 1.0}
    no = {"method": "fst", "seed": 1, "num_clean": 500, "refused": "No classifier."}
    write(tmp_path / "one.json", one | {"rows": [*one["rows"], lost, no]})
    by = {row["method"]: row for row in tables()["methods"]}
    assert (by["ft"]["diverged"], by["fst"]["refused"]) == (1, 1)
    assert by["ft"]["models"] == 1


def test_nothing_measured_is_a_file_without_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(arena, "FOLDER", tmp_path / "arena")
    monkeypatch.setattr(arena_table, "PATH", tmp_path / "arena.json")
    assert arena_table.missing() == ["arena.json"]
    arena_table.make("arena.json")
    assert json.loads((tmp_path / "arena.json").read_text())["cells"] == []
    assert arena_table.missing() == []
