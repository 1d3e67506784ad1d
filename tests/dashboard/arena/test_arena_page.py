"""The Arena as a reader opens it."""

from __future__ import annotations

import pytest

from dashboard.arena import VIEWS
from dashboard.kit import evidence as kit
from tests.helpers.pages import text


@pytest.fixture
def found(monkeypatch, arena_tables):
    monkeypatch.setattr(kit, "evidence", {"arena": arena_tables}.get)
    return arena_tables


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_says_what_its_numbers_are_of(view, open_page, empty, found):
    said = text(open_page("arena", view=view))
    assert "under one protocol" in said
    if view == "images":
        assert "one model each of 3 attacks" in said and "One model of BadNets" in said
    elif view == "strength":
        assert "of 3 models, one each of badnets, blend, wanet" in said
    elif view == "published":
        assert "The file of published figures is missing." in said
    else:
        assert "12 models on" in said and "Abacus, torch 9.9" in said


def test_what_others_published_stands_beside_what_was_measured(open_page, store, found):
    page = open_page("arena", view="published")
    said = text(page)
    assert "BackdoorBench" in said and "no difference between columns is the method's alone" in said
    shares, cells = (one.value for one in page.dataframe)
    assert shares.set_index("Method").loc["SGD fine-tuning", "Published (%)"] == 22
    (row,) = cells[cells["Attack"] == "WaNet"].to_dict("records")
    assert row["Published ASR"] == pytest.approx(17.1) and row["Measured ASR"] == 22.0


def test_a_link_opens_its_cell_and_its_question(open_page, empty, found):
    page = open_page("arena", attack="wanet", method="fst", num_clean="100", loss="30")
    assert page.selectbox(key="arena.method").value == "fst"
    assert page.selectbox(key="arena.attack").value == "wanet"
    assert page.number_input(key="arena.points").value == 3.0
    table = page.dataframe[-1].value
    assert list(table["Model of seed"]) == [0, 1, 2] and table["ASR left %"][0] == "5.0"
    assert "100 clean images" in text(page)


def test_a_cell_shows_its_recorded_way_beside_others(open_page, empty, found):
    page = open_page("arena", attack="wanet", method="fst")
    assert page.multiselect(key="arena.beside").value == ["ft"]
    assert "signs-wanet-s1-0000000000" in text(page)
    page.selectbox(key="arena.attack").set_value("none").run()
    assert "signs-none-s1-0000000000" in text(page)
    found["curves"].clear()
    assert "signs-none-s1" not in text(page.run())


def test_methods_can_be_sorted_by_what_they_leave(open_page, empty, found):
    page = open_page("arena", sort="least")
    assert list(page.selectbox(key="arena.method").options)[0] == "NGF, all layers"
    page = open_page("arena", sort="cost")
    assert list(page.selectbox(key="arena.method").options)[0] == "SGD fine-tuning, last layer"


def test_a_cell_that_was_not_measured_says_so(open_page, empty, found):
    found["models"] = [row for row in found["models"] if row["method"] != "ft"]
    assert "This cell is not measured yet." in text(open_page("arena", method="ft"))


def test_names_that_are_not_there_are_told(open_page, empty, found):
    assert "ignored" in text(open_page("arena", attack="nobody"))


def test_without_evidence_the_page_says_how_to_get_it(open_page, empty, monkeypatch):
    monkeypatch.setattr(kit, "evidence", lambda name: None)
    assert "python -m evidence arena arena_table" in text(open_page("arena"))
