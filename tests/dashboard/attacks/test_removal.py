"""What the Attacks page says of purification, from the tables of methods."""

from __future__ import annotations

import pytest

from dashboard.attacks import removal
from evidence import methods, purification
from evidence.shipped import write
from tests.helpers.pages import text
from tests.helpers.purification_rows import files

HOW = {"default": ("ngf, one layer", "sgd, all layers")}


@pytest.fixture
def tables(monkeypatch, tmp_path):
    """Tables of made-up purifications, where the page looks for them."""
    monkeypatch.setattr(purification, "FOLDER", tmp_path)
    for one in files(models=2, how=HOW, seeds=5):
        write(tmp_path / f"{one['run']}.json", one)
    found = methods.tables()
    monkeypatch.setattr(removal, "evidence", {"methods": found}.get)
    return found


def test_tables_and_captions_are_of_models_and_seeds(open_page, empty, tables) -> None:
    said = text(open_page("attacks", attack="badnets"))
    assert "**Purified**, with the Lab's defaults:" in said
    assert "2 models on" in said and "5 purification seeds for each method and model" in said
    assert "500 clean images in all" in said
    assert f"So far {tables['about']['rows']:,} of" in said
    assert "What purification achieves" not in said, "one attack has no chart of several"


def test_a_cell_has_both_spreads(tables) -> None:
    of = [row for row in tables["methods"] if row["attack"] == "blend"]
    found = removal.table(of)
    assert list(found.index) == ["Backdoored", "after NGF, one layer", "after SGD, all layers"]
    (ngf,) = [row for row in of if row["method"] == "ngf, one layer"]
    mean, models, seeds = (
        100 * ngf[f"asr{end}"] for end in ("", "_between_models", "_between_seeds")
    )
    cell = found.loc["after NGF, one layer", "ASR %"]
    assert cell == f"{mean:.1f} ± {models:.1f} (± {seeds:.1f})"
    assert found.loc["Backdoored", "ASR %"] == "95.0 ± 0.0"
    assert found.loc["after SGD, all layers", "Diverged"] == "0 of 10"


def test_only_methods_that_every_attack_has_share_a_chart(tables) -> None:
    rows = [*tables["models"], {"attack": "blend", "method": "adam, all layers"}]
    assert removal._everywhere(rows) == ["before", *HOW["default"]]


def test_nothing_measured_shows_nothing(open_page, empty, monkeypatch) -> None:
    monkeypatch.setattr(removal, "evidence", lambda name: None)
    said = text(open_page("attacks", attack="badnets"))
    assert "Purified" not in said and "What purification achieves" not in said
