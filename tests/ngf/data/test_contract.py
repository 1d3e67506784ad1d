"""What every data set promises, and what its note says without any files."""

import pytest
import torch

from ngf import catalogue
from ngf.catalogue import names
from ngf.data import DataError, load
from tests.helpers import data_files


@pytest.mark.parametrize("name", [name for name in names("data") if name != "mine"])
def test_every_data_set_keeps_its_promises(name, tmp_path, monkeypatch):
    """Contract of the data plug-ins; Fashion-MNIST is the real one, the others are small
    files in their format. Images of an imported model (test_mine.py) have nothing to train on.
    """
    data_files.provide(name, tmp_path, monkeypatch)
    splits = load(name, num_train=200, num_clean=15)
    splits.prepare()
    parts = [splits.train, splits.clean, splits.validation, splits.test]
    for part in parts:
        assert part.images.dtype == torch.uint8
        assert list(part.images.shape[1:]) == splits.source.facts["shape"]
        assert part.labels.min() >= 0 and part.labels.max() < len(splits.classes)
        assert len(part.labels.unique()) > 1
    assert [len(part) for part in parts[:2]] == [200, 15]
    assert len(parts[3]) == splits.source.facts["pools"]["test"]
    assert torch.equal(load(name, num_train=200).train.images, splits.train.images)
    assert len(splits.source.facts["survives_flip"]) == len(splits.classes)
    if name != "fashion_mnist":  # which holds a few pictures twice
        seen = [{image.numpy().tobytes() for image in part.images} for part in parts]
        assert all(not seen[i] & seen[j] for i in range(4) for j in range(i))


@pytest.mark.parametrize(
    ("name", "folder", "advice"),
    [
        ("cifar10", "cifar-10-batches-py", "Put the folder cifar-10-batches-py"),
        ("svhn", "data", "Put train_32x32.mat"),
        ("gtsrb", "gtsrb", "Unpack GTSRB-Training_fixed.zip"),
        ("tiny_imagenet", "tiny-imagenet-200", "Download tiny-ima"),
        ("imagenet", "imagenet", "Put the training images there"),
        ("folder", "folder", "Put a folder of images for each"),
    ],
)
def test_missing_files_say_where_they_belong(name, folder, advice, own_folders, monkeypatch):
    def refused(*args, **options):
        raise OSError("no network")

    for module in ("cifar", "svhn", "gtsrb"):
        for function in ("download_url", "download_and_extract_archive"):
            monkeypatch.setattr(f"torchvision.datasets.{module}.{function}", refused, raising=False)
    with pytest.raises(DataError, match=advice) as error:
        load(name, num_train=20).prepare()
    assert (
        str(own_folders / folder) in str(error.value)
        or folder == "data"
        and str(own_folders) in str(error.value)
    )


def test_the_catalogue_needs_no_files(own_folders):
    known = catalogue.catalogue()["data"]
    assert {"cifar10", "folder", "gtsrb", "imagenet", "svhn", "tiny_imagenet"} <= set(known)
    for name, about in known.items():
        assert about["source"] and about["license"], name
        assert name in ("signs", "mine") or about["files"] and about["advice"], name
    assert len(known["gtsrb"]["classes"]) == 43
    assert catalogue.missing_files("folder") == ["folder"]
    assert catalogue.missing_files("signs") == []
