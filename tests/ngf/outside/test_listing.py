"""Folders from outside: what counts, what does not and why, and names of any kind."""

import os
from pathlib import Path

import pytest

from ngf.outside.listing import (
    LeftOut,
    beside,
    class_folders,
    list_files,
    look,
    looked,
    parts_of,
    shown,
    summary,
    survey,
)
from tests.helpers import data_files


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Two classes of three images each, and a cache of its own."""
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    return data_files.write_folder(tmp_path, images=3, classes=("green", "red"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"plain.png", "plain.png"),
        ("Gr\u00fc\u00dfe \u732b.png".encode(), "Gr\u00fc\u00dfe \u732b.png"),
        (b"caf\xe9.png", "caf\\xe9.png"),
        (b"a\nb\x1b[31m.png", "a\\nb\\x1b[31m.png"),
        ("right\u202eleft".encode(), "right\\u202eleft"),
    ],
)
def test_every_name_can_be_printed(name, words, base):
    path = os.fsencode(base / "red") + b"/" + name
    Path(os.fsdecode(path)).write_bytes((base / "red/000.png").read_bytes())
    names = [entry.name for entry in list_files(base, ["red"]).files[0]]
    assert f"red/{words}" in map(shown, names)
    found = look(base, list_files(base, ["red"]).files[0])
    assert all(found[name][:3] == (24, 24, "RGB") for name in names)
    assert set(looked(base)) == set(list_files(base, ["red"]).files[0])
    assert shown("\ud800") == "\\ud800"


def test_hidden_and_system_folders_are_no_classes(base):
    for name in (".git", "__MACOSX", "@eaDir", "$RECYCLE.BIN"):
        (base / name).mkdir()
    (base / "circle").symlink_to("circle")
    (base / "linked").symlink_to("red")
    assert class_folders(base) == ["green", "linked", "red"]
    (base / "notes.txt").write_text("no image")
    (base / ".hidden").write_text("")
    assert beside(base, ["green", "red"]) == [
        LeftOut("circle", "a link in a circle"),
        LeftOut("linked", "a folder that is not used: 3 files"),
        LeftOut("notes.txt", "in no folder of a class"),
    ]


def test_a_survey_judges_by_beginnings_and_by_what_was_seen(base):
    (base / "red/text.png").write_text("no image")
    (base / "red/cut.png").write_bytes((base / "red/000.png").read_bytes()[:-300])
    before = survey(base, "dataset.json", 1000)
    assert before.parts == {"": {"green": 3, "red": 4}}
    assert before.left_out == [LeftOut("red/text.png", "not an image")]
    look(base, [entry for files in list_files(base, ["green", "red"]).files for entry in files])
    after = survey(base, "dataset.json", 1000)
    assert after.parts == {"": {"green": 3, "red": 3}}
    assert {name for name, _ in after.left_out} == {"red/text.png", "red/cut.png"}
    assert survey(base, "dataset.json", 4).more and not after.more


def test_parts_are_those_that_the_owner_made(base):
    assert parts_of(["a", "b"]) == []
    assert parts_of(["test", "train", "val"]) == ["train", "test"]
    assert parts_of(["val", "x"]) == ["val"]
    for part in ("train", "val"):
        (base / part / "red").mkdir(parents=True)
        (base / "red/000.png").rename(base / part / "red/0.png") if part == "train" else None
    found = survey(base, "dataset.json", 1000)
    assert found.parts == {"train": {"red": 1}, "val": {"red": 0}}
    assert [name for name, _ in found.left_out] == ["green", "red"]


def test_a_summary_counts_by_reason_and_names_the_first():
    many = [LeftOut(f"a/{k}", "damaged: at byte " + str(k)) for k in range(1200)]
    others = [LeftOut("b", f"reason {k}") for k in range(9)]
    text = summary([*others, *many], ["c.gif"])
    assert text.startswith(
        "left out 1,209: 1,200 × damaged (a/0, a/1, a/2, 1,197 more); 1 × reason 0"
    )
    assert text.endswith(
        "4 × other reasons; of 1 with several pictures the first was taken (c.gif)"
    )
    assert summary([]) == ""
