"""Data sets, splits, poisoning, augmentation."""

import gzip
import struct

import numpy as np
import pytest
import torch

from ngf.attacks.poison import poison, trigger_test_set
from ngf.catalogue import build, names
from ngf.config import Choice
from ngf.data import DataError, load, to_float
from ngf.data.augment import augment
from ngf.data.fashion_mnist import DEBIAN, read_split
from ngf.data.signs import render
from ngf.options import SpecError
from tests.helpers import data_files


def test_signs_are_the_same_for_the_same_seed():
    one, two, other = render(60, seed=3), render(60, seed=3), render(60, seed=4)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)
    assert not torch.equal(one.images, other.images)
    assert one.labels.bincount().tolist() == [5] * 12


def test_signs_show_their_class():
    """Class means differ far more between classes than between two draws of one class."""
    a, b = render(1200, seed=1), render(1200, seed=2)
    means = [
        torch.stack([to_float(x.images[x.labels == k]).mean(0) for k in range(12)]) for x in (a, b)
    ]
    within = (means[0] - means[1]).flatten(1).norm(dim=1).mean()
    between = torch.pdist(means[0].flatten(1)).mean()
    assert between > 2 * within


def test_splits_never_share_an_image():
    splits = load("signs", seed=0, num_train=2000, num_clean=500)
    parts = [splits.train, splits.clean, splits.validation, splits.test]
    assert [len(part) for part in parts] == [2000, 500, 1000, 2400]
    seen = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert all(not seen[i] & seen[j] for i in range(4) for j in range(i))


def test_a_seed_chooses_within_the_pools():
    first, second = load("signs", seed=0, num_clean=50), load("signs", seed=1, num_clean=50)
    assert not torch.equal(first.clean.images, second.clean.images)
    assert torch.equal(first.test.images, second.test.images)


def test_asking_for_too_many_says_how_many_there_are():
    with pytest.raises(DataError, match=r"2,000 clean images"):
        _ = load("signs", num_clean=2001).clean
    with pytest.raises(DataError, match="training images, not"):
        _ = load("signs", num_train=60_000).train


@pytest.mark.parametrize("name", names("data"))
def test_every_data_set_keeps_its_promises(name, tmp_path, monkeypatch):
    """Contract of the data plug-ins; Fashion-MNIST is the real one, the others are small
    files in their format.
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


def test_augment_shifts_and_mirrors_only_what_may_be():
    images = torch.rand(200, 3, 8, 8)
    labels = torch.arange(200) % 2
    flips = torch.tensor([True, False])
    rng = torch.Generator().manual_seed(0)
    out = augment(images, labels, rng, shift=0, survives_flip=flips)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert bool(same[labels == 1].all())
    assert 20 < int(mirrored[labels == 0].sum()) < 80
    shifted = augment(images, labels, rng, shift=2)
    inner = {tuple(s.flatten().tolist()) for s in (images[0, :, 2:6, 2:6],)}
    windows = {
        tuple(shifted[0, :, r : r + 4, c : c + 4].flatten().tolist())
        for r in range(5)
        for c in range(5)
    }
    assert inner & windows


def test_poisoning_marks_what_it_changes():
    splits = load("signs", num_train=1000)
    attack = build("attacks", Choice("wanet"))
    mix = poison(splits.train, attack, 12, seed=0)
    changed = (mix.data.images != splits.train.images).flatten(1).any(1)
    assert int(mix.triggered.sum()) == round(1000 * attack.poison_rate)
    assert int(mix.cover.sum()) == round(1000 * attack.cover_rate)
    assert not bool((mix.triggered & mix.cover).any())
    assert bool((changed <= (mix.triggered | mix.cover)).all())
    assert bool((mix.data.labels[mix.triggered] == attack.target).all())
    assert torch.equal(mix.data.labels[~mix.triggered], splits.train.labels[~mix.triggered])


def test_impossible_poison_rates_are_refused_with_numbers():
    splits = load("signs", num_train=1000)
    with pytest.raises(SpecError, match=r"asks for 0 of 1,000"):
        poison(splits.train, build("attacks", Choice("badnets", {"poison_rate": 0.0001})), 12, 0)
    with pytest.raises(SpecError, match=r"can be poisoned. Choose a rate"):
        poison(splits.train, build("attacks", Choice("sig", {"poison_rate": 0.5})), 12, 0)
    with pytest.raises(SpecError, match=r"Target class 12 does not exist. Allowed: 0 to 11"):
        poison(splits.train, build("attacks", Choice("badnets", {"target": 12})), 12, 0)


def test_the_triggered_test_set_leaves_out_the_target():
    splits = load("signs")
    one = trigger_test_set(splits.test, build("attacks", Choice("badnets", {"target": 3})), 12)
    assert 3 not in one.data.labels.unique()
    assert one.wanted.unique().tolist() == [3]
    every = trigger_test_set(
        splits.test, build("attacks", Choice("badnets", {"mode": "all-to-all"})), 12
    )
    assert len(every.data) == len(splits.test)
    assert torch.equal(every.wanted, (every.data.labels + 1) % 12)


def test_holdout_of_fashion_mnist_is_apart_from_training():
    splits = load("fashion_mnist", num_train=54_000, num_clean=5000)
    train = {image.numpy().tobytes() for image in splits.train.images}
    # The published set itself holds a few identical pictures, so nearly none is asked, not none.
    shared = sum(image.numpy().tobytes() in train for image in splits.clean.images)
    assert shared <= 5
    assert len(np.unique(splits.train.labels)) == 10
