"""Curvature goes into the files of `evidence.frontier`, of the models that it has left."""

from __future__ import annotations

import shutil

import pytest

from evidence import sharpness
from evidence.computing import Failed
from evidence.shipped import RUNS, read, write

MODEL = "signs-badnets-s0-e92d669fdf"


def test_nothing_of_it_is_missing() -> None:
    assert sharpness.missing() == []


def test_what_lacks_is_named_and_cannot_be_measured_without_the_models(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    shutil.copytree(RUNS, tmp_path / "files")
    monkeypatch.setattr(sharpness, "RUNS", tmp_path / "files")
    path = tmp_path / "files" / f"{MODEL}.json"
    found = read(path)
    del found["results"]["sgd, all layers"]["curvature"]
    write(path, found)
    assert sharpness.missing() == [MODEL]
    with pytest.raises(Failed, match="sgd-all-layers.safetensors is gone"):
        sharpness.make(MODEL)
    path.unlink()
    assert sharpness.missing() == [MODEL]
    with pytest.raises(Failed, match="python -m evidence frontier"):
        sharpness.make(MODEL)
