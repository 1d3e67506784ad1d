"""Images of an imported model: all are the defender's but those that are measured on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ngf.config import Choice
from ngf.data import DataError, load
from ngf.data.mine import FACTS, IMAGES
from ngf.places import imports_dir

SOURCE = Choice("mine", {"content": "abc"})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_DATA", str(tmp_path))
    path = imports_dir() / "abc"
    path.mkdir(parents=True)
    rng = torch.Generator().manual_seed(0)

    def images(count):
        return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=rng)

    counts = {"holdout": 12, "test": 4, "triggered": 2}
    tensors = {f"{pool}.images": images(count) for pool, count in counts.items()}
    tensors |= {f"{pool}.labels": torch.arange(count) % 2 for pool, count in counts.items()}
    save_file({**tensors, "triggered.wanted": torch.tensor([1, 0])}, path / IMAGES)
    facts = {
        "classes": ["a", "b"],
        "shape": [3, 8, 8],
        "pools": {"train": 0, "holdout": 12, "test": 4},
        "validation": 0,
        "triggered": 2,
        "survives_flip": [False, False],
    }
    (path / FACTS).write_text(json.dumps(facts))
    return path


def test_a_defender_has_all_images_that_are_not_measured_on(folder):
    splits = load(SOURCE, num_clean=12)
    assert len(splits.clean) == 12 and len(splits.validation) == 0 and len(splits.test) == 4
    assert sorted(splits.clean.labels.tolist()) == [0] * 6 + [1] * 6
    with pytest.raises(DataError, match="12 clean images for a defender, not 13"):
        _ = load(SOURCE, num_clean=13).clean
    data, wanted = splits.source.triggered()
    assert data.labels.tolist() == [0, 1] and wanted.tolist() == [1, 0]


def test_there_is_nothing_to_train_on(folder):
    with pytest.raises(DataError, match="comes without its training images"):
        load(SOURCE).source.load("train", np.arange(1))


def test_what_is_gone_or_damaged_is_said(folder, tmp_path):
    (folder / IMAGES).write_bytes(b"no tensors")
    with pytest.raises(DataError, match="cannot be read"):
        _ = load(SOURCE, num_clean=2).clean
    (folder / FACTS).unlink()
    with pytest.raises(DataError, match=r"are gone from .*Import the model once more"):
        load(SOURCE).prepare()
    for content in ("", "../abc", "a/b"):
        with pytest.raises(DataError, match="belong to an imported model"):
            load(Choice("mine", {"content": content})).prepare()
