"""The card of a data set: what it says, and what it says about missing files."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.kit.data_card import found
from ngf import catalogue
from tests.helpers import data_files
from tests.helpers.pages import checked, read


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """A place for data and for the cache that no other test sees."""
    catalogue.catalogue()  # made once, in the cache of all tests
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def card(name):
    """The data card of `name` on a page of its own."""

    def page(name):
        from dashboard.kit.data_card import data_card

        data_card(name, "card")

    opened = AppTest.from_function(page, args=(name,), default_timeout=120).run()
    assert not opened.exception, opened.exception[0].stack_trace
    return opened


@pytest.mark.parametrize("name", [name for name in catalogue.names("data") if name != "mine"])
def test_every_data_set_has_a_card(name, own_folders, monkeypatch):
    """Missing: what to do, outside; there: nothing to do. Always classes, source, license. Nobody
    is asked for images that came with a model.
    """
    about, page = catalogue.catalogue()["data"][name], card(name)
    notes = [read(item.value) for item in (*page.info, *page.warning)]
    if name in ("signs", "fashion_mnist"):
        assert not notes
    else:
        assert len(notes) == 1 and str(own_folders / about["folder"]) in notes[0]
        assert ("are downloaded" in notes[0]) == ("download_mb" in about)
    data_files.provide(name, own_folders, monkeypatch)
    page = card(name)
    assert not page.info and not page.warning
    words = page.markdown[1].value
    assert about["license"] in words and about["source"] in words
    assert name == "folder" or "**Classes**" in words and "for the defender" in words
    assert name != "folder" or "3 classes: blue 150, green 150, red 150" in words


def test_the_card_tells_what_is_left_out_and_what_a_defender_gets(own_folders):
    base = data_files.write_folder(own_folders, images=250, classes=("green", "red"))
    (base / "red/*notes*.txt").write_text("no image")
    (base / "red/caf\udce9.png").write_text("no image")
    (base / "circle").symlink_to("circle")
    words = card("folder").markdown[1].value
    assert "2 classes: green 250, red 250" in words
    assert "about 100; half of that" in words
    assert "about 50 of 500 images are for purifying" in words
    assert (
        r"left out 3: 2 × not an image (red/\*notes\*.txt, red/caf\\xe9.png); "
        "1 × a link in a circle (circle)"
    ) in words


def test_the_card_of_an_odd_place_says_so(own_folders):
    base = data_files.write_folder(own_folders, images=2)

    def words():
        found.clear()  # which is kept for some seconds
        return card("folder").markdown[1].value

    for path in base.rglob("*.png"):
        path.unlink()
    assert "3 classes: blue 0, green 0, red 0" in words()
    for path in base.iterdir():
        path.rmdir()
    assert "no folder of a class yet" in words()
    base.rmdir()
    base.write_text("a file")
    assert r"can be looked into (cannot be opened\: not a directory)" in words()


def test_the_lab_shows_the_card_and_refuses_to_start_without_the_files(
    open_page, store, own_folders
):
    page = open_page("lab", view="train")
    checked(page.selectbox(key="lab.train.data").set_value("folder").run())
    assert any("Put a folder of images for each class" in read(item.value) for item in page.warning)
    page.button(key="lab.start").click().run()
    assert any("Your own images: folder is missing in" in read(item.value) for item in page.error)
    data_files.write_folder(own_folders, images=12)
    page.button(key="lab.start").click().run()
    assert not page.exception
    assert not any("is missing in" in read(item.value) for item in page.error)
