"""Decoded images: made once, in parts, in no more memory than a part needs."""

import tracemalloc

import numpy as np
import pytest
import torch

from ngf.data.shared import decoded
from tests.helpers import data_files
from tests.helpers.data_files import source


def test_only_what_is_asked_for_is_decoded_and_only_once(own_folders, monkeypatch):
    base = data_files.write_folder(own_folders, images=40)
    monkeypatch.setattr(decoded, "PART_ROWS", 10)
    made = source("folder")
    first = made.load("train", np.array([3, 25, 4]))
    pool = made._set.pools["train"]
    assert sorted(path.name for path in pool.folder.iterdir()) == [
        "train-00000.npy",
        "train-00002.npy",
    ]
    monkeypatch.setattr("ngf.data.shared.folders.decode_file", None)  # decoding again would fail
    again = source("folder").load("train", np.array([4, 3, 25]))
    assert torch.equal(again.images, first.images[[2, 0, 1]])
    assert torch.equal(again.labels, first.labels[[2, 0, 1]])
    monkeypatch.undo()
    monkeypatch.setenv("NGF_DATA", str(own_folders))
    monkeypatch.setenv("NGF_CACHE", str(own_folders.parent / "cache"))
    (base / "blue/new.png").write_bytes((base / "blue/000.png").read_bytes())
    changed = source("folder")
    changed.load("train", np.arange(2))
    assert changed._set.pools["train"].folder != pool.folder and not pool.folder.exists()


def test_a_decoding_that_was_killed_goes_on_with_the_next_part(own_folders, monkeypatch):
    data_files.write_folder(own_folders, images=40)
    monkeypatch.setattr(decoded, "PART_ROWS", 10)
    said = []

    def stop_late(phase, step, steps):
        if phase != "decoding images":
            return
        said.append((phase, step, steps))
        if step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source("folder").prepare("train", np.arange(72), stop_late)
    assert said == [("decoding images", step, 72) for step in (0, 10, 20)]
    source("folder").prepare("train", np.arange(72), lambda *what: said.append(what))
    assert said[3] == ("decoding images", 0, 52)


def test_memory_is_that_of_a_part_whatever_the_number_of_images(own_folders, monkeypatch):
    """900 images of 96x96 are 25 MB decoded; a part is 0.5 MB. What Python and NumPy hold at
    once is near the part.
    """
    data_files.write_folder(own_folders, images=300, settings={"size": 96})
    monkeypatch.setattr(decoded, "PART_BYTES", 2**19)
    made = source("folder")
    rows = np.arange(made.facts["pools"]["train"])
    total = len(rows) * 3 * 96 * 96
    made.prepare("test", np.arange(2))  # what is imported and allocated once
    tracemalloc.start()
    try:
        made.prepare("train", rows)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        few = made.load("train", rows[::100])
        read = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(few) == 6
    assert 2**18 < held < 2**21 < total / 7
    assert read < 2**20
