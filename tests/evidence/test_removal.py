"""What purification achieves: the file that ships, and how a model gets into it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from evidence import claims, removal
from evidence.computing import LANES
from evidence.shipped import read, write
from ngf.config import PurifySpec
from ngf.places import ASSETS
from ngf.runs.folder import RESULT


def test_the_shipped_purifications_are_of_every_backdoored_model_on_signs() -> None:
    found = json.loads((ASSETS / "evidence" / "removal.json").read_text(encoding="utf-8"))
    zoo = {
        path.name
        for path in (ASSETS / "zoo").glob("signs-*")
        if not path.name.startswith("signs-none")
    }
    assert {row["run"] for row in found["rows"]} == zoo
    for row in found["rows"]:
        result = json.loads((ASSETS / "zoo" / row["run"] / RESULT).read_text(encoding="utf-8"))
        assert row["before"]["asr"] == pytest.approx(result["asr"], abs=0.002)
        assert set(row["after"]) == {"ngf", "sgd", "adam"}


def test_the_shipped_file_says_how_it_was_measured_and_what_counts_as_removed() -> None:
    found = read(ASSETS / "evidence" / "removal.json")
    assert (found["steps"], found["num_clean"], found["gone"]) == (100, 500, claims.GONE)
    assert removal.missing() == []


def test_a_model_that_is_not_there_is_purified_and_put_in_its_place(monkeypatch, tmp_path) -> None:
    shipped = read(ASSETS / "evidence" / "removal.json")
    gone = shipped["rows"][4]
    path = tmp_path / "removal.json"
    write(path, shipped | {"rows": [row for row in shipped["rows"] if row != gone]})
    monkeypatch.setattr(removal, "REMOVAL", path)
    assert removal.missing() == [gone["run"]]
    monkeypatch.setattr(removal, "row", lambda origin, purification: gone)
    spec = PurifySpec(parent=gone["run"], lanes=LANES)
    monkeypatch.setattr(removal, "purified", lambda store, parent: SimpleNamespace(spec=spec))
    removal.make(gone["run"])
    assert {**read(path), "environment": 0} == {**shipped, "environment": 0}
    assert removal.missing() == []
