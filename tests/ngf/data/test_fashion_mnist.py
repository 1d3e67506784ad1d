"""Fashion-MNIST: plain, packed, damaged and missing files, and its holdout images."""

import gzip
import struct

import numpy as np
import pytest
import torch

from ngf.data import DataError, load
from ngf.data.fashion_mnist import DEBIAN, read_split


def test_fashion_mnist_is_read_from_plain_and_packed_files(tmp_path, monkeypatch):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in DEBIAN.glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    monkeypatch.setenv("NGF_DATA", str(tmp_path))
    plain_images, plain_labels = read_split("test")
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "empty"))
    packed_images, packed_labels = read_split("test")
    assert torch.equal(plain_images, packed_images)
    assert torch.equal(plain_labels, packed_labels)


@pytest.mark.parametrize("damage", ["cut", "header", "garbage"])
def test_a_damaged_file_is_named_with_advice(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("NGF_DATA", str(tmp_path))
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    name = "t10k-images-idx3-ubyte"
    good = (DEBIAN / f"{name}.gz").read_bytes()
    if damage == "cut":
        (raw / f"{name}.gz").write_bytes(good[: len(good) // 2])
    elif damage == "header":
        (raw / name).write_bytes(struct.pack(">IIII", 2051, 10, 28, 28) + bytes(10 * 784))
    else:
        (raw / f"{name}.gz").write_bytes(b"not a gzip file")
    with pytest.raises(DataError, match=rf"{name}.*(Delete|put a good copy)"):
        read_split("test")


def test_missing_files_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_DATA", str(tmp_path))
    monkeypatch.setattr("ngf.data.fashion_mnist.DEBIAN", tmp_path / "nowhere")
    monkeypatch.setattr(
        "ngf.data.fashion_mnist.TorchvisionFashionMNIST.mirrors", ["http://127.0.0.1:9/"]
    )
    with pytest.raises(DataError, match="Put the four Fashion-MNIST files into"):
        read_split("train")


def test_holdout_of_fashion_mnist_is_apart_from_training():
    splits = load("fashion_mnist", num_train=54_000, num_clean=5000)
    train = {image.numpy().tobytes() for image in splits.train.images}
    # The published set itself holds a few identical pictures, so nearly none is asked, not none.
    shared = sum(image.numpy().tobytes() in train for image in splits.clean.images)
    assert shared <= 5
    assert len(np.unique(splits.train.labels)) == 10
