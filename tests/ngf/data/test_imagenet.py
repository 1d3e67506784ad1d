"""ImageNet: the middle square at the size asked for, and the same classes in both parts."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from ngf.data import DataError
from tests.helpers import data_files
from tests.helpers.data_files import source, whole


def test_imagenet_cuts_the_middle_square_at_the_size_asked_for(own_folders):
    data_files.write_imagenet(own_folders, images=12)
    folder = own_folders / "imagenet"
    wide = np.zeros((70, 90, 3), np.uint8)
    wide[:, 10:80] = 255  # the middle square
    for path in folder.glob("val/*/*.JPEG"):
        Image.fromarray(wide).save(path, quality=100)
    assert source("imagenet").facts["classes"] == ["tench", "goldfish", "n01484850"]
    assert source("imagenet").facts["shape"] == [3, 64, 64]
    assert whole("imagenet", "test").images[:, :, 1:-1, 1:-1].min() > 240
    (folder / "dataset.json").write_text(json.dumps({"size": 16}))
    assert whole("imagenet", "test").images.shape == (15, 3, 16, 16)


def test_imagenet_needs_the_same_classes_in_both_parts(own_folders):
    data_files.write_imagenet(own_folders, images=12)
    (own_folders / "imagenet/val/n01440764").rename(own_folders / "imagenet/val/n09999999")
    with pytest.raises(DataError, match="n01440764, n09999999 and so on are in one of them only"):
        _ = source("imagenet").facts


def test_imagenet_tells_what_it_does_not_read(own_folders):
    data_files.write_imagenet(own_folders, images=12)
    train = own_folders / "imagenet/train"
    (train / "n01440764/valprep.sh").write_text("no image")
    (train / "circle").symlink_to("circle")
    os.mkfifo(train / "n01440764/pipe.JPEG")
    made = source("imagenet")
    assert made.facts["left_out"]["files"] == [
        ["train/circle", "a link in a circle"],
        ["train/n01440764/pipe.JPEG", "a pipe, a socket or a device"],
        ["train/n01440764/valprep.sh", "not an image"],
    ]
    (own_folders / "imagenet/LOC_synset_mapping.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match="LOC_synset_mapping.txt cannot be read"):
        _ = source("imagenet").facts
