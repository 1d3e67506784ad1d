"""Tiny ImageNet: its classes, its annotations, and what is incomplete."""

import os

import numpy as np
import pytest
from PIL import Image

from ngf.data import DataError
from tests.helpers import data_files
from tests.helpers.data_files import source, whole


def test_tiny_imagenet_takes_test_classes_from_its_annotations(own_folders):
    data_files.write_tiny_imagenet(own_folders)
    made = source("tiny_imagenet")
    assert made.facts["classes"] == ["Egyptian cat", "reel", "volleyball"]
    assert made.facts["pools"] == {"train": 324, "holdout": 36, "test": 12}
    test = whole("tiny_imagenet", "test")
    assert test.labels.tolist() == [(k + 1) % 3 for k in range(12)]
    with Image.open(own_folders / "tiny-imagenet-200/val/images/val_4.JPEG") as image:
        assert np.array_equal(test.images[4].permute(1, 2, 0).numpy(), np.asarray(image))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "wnids.txt",
            "n02124075\nn00000001\n",
            "1 of the 2 folders of classes are missing.*n00000001",
        ),
        ("val/val_annotations.txt", "val_0.JPEG n02124075\n", "1 of 1 lines do not"),
    ],
)
def test_incomplete_tiny_imagenet_is_refused(file, text, message, own_folders):
    data_files.write_tiny_imagenet(own_folders, images=12)
    (own_folders / "tiny-imagenet-200" / file).write_text(text)
    with pytest.raises(DataError, match=message):
        _ = source("tiny_imagenet").facts


def test_a_list_that_is_no_file_is_not_waited_for(own_folders):
    data_files.write_tiny_imagenet(own_folders, images=12)
    path = own_folders / "tiny-imagenet-200/wnids.txt"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="wnids.txt cannot be read .it is no file"):
        _ = source("tiny_imagenet").facts
