"""Clean images in every form in which people have them, and what is wrong with some."""

from __future__ import annotations

import stat
import zipfile

import numpy as np
import pytest
import torch

from ngf.data.images import DataError
from ngf.imports import pictures
from ngf.imports.pictures import find, find_poisoned
from tests.helpers.brought import pngs, zip_of


@pytest.fixture(scope="module")
def members():
    """40 images, in folders `clean/<class>/`."""
    return pngs(40, lambda label, k: f"clean/{label}/{k}.png")


def test_folder_zip_and_csv_give_the_same_images(members, tmp_path):
    zipped = find([str(zip_of(tmp_path / "a.zip", members))])
    for name, data in members.items():
        path = tmp_path / "folder" / name.removeprefix("clean/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder = find([str(tmp_path / "folder")])
    flat = {name.rpartition("/")[2]: data for name, data in members.items()}
    table = "\n".join(f"{n.rpartition('/')[2]},{n.split('/')[1]}" for n in members)
    told = find([str(zip_of(tmp_path / "b.zip", {**flat, "labels.csv": table.encode()}))])
    assert zipped.labels == folder.labels == told.labels
    of = {k.name.rpartition("/")[2]: n for k, n in zip(told.sources, told.numbers, strict=True)}
    for found in (zipped, folder):
        assert len(found) == 40 and found.side == 32
        for source, number in zip(found.sources, found.numbers.tolist(), strict=True):
            assert of[source.name.rpartition("/")[2]] == number
    assert zipped.decoded(32).shape == (40, 3, 32, 32)
    assert find([str(zip_of(tmp_path / "c.zip", flat))]).labels == [], "one folder is no class"


def test_arrays_are_taken_in_any_order_of_their_axes(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (24, 3, 16, 16), np.uint8)
    labels = np.arange(24) % 12
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    np.savez(tmp_path / "b.npz", x=images.transpose(0, 2, 3, 1), y=labels)
    for name in "ab":
        found = find([str(tmp_path / f"{name}.npz")])
        assert torch.equal(found.decoded(16), torch.from_numpy(images))
        assert found.labels == [str(k) for k in range(12)], "10 comes after 9"


def test_gray_and_odd_shapes_are_brought_to_what_the_model_takes(tmp_path):
    wide = np.zeros((24, 20, 40), np.uint8)
    wide[:, :, 20:] = 255
    wide[:, 0, 0] = np.arange(24)
    np.savez(tmp_path / "a.npz", images=wide, labels=np.arange(24) % 2)
    found = find([str(tmp_path / "a.npz")])
    assert found.gray == 24 and found.side is None
    assert found.decoded(20, "squeeze", 1).shape == (24, 1, 20, 20)
    cropped = found.decoded(20, "crop", 3)[0, 0]
    assert int(cropped[:, :9].max()) == 0 and int(cropped[:, 11:].min()) == 255


def test_an_archive_is_read_with_care(members, tmp_path):
    path = zip_of(tmp_path / "a.zip", members)
    first = next(iter(members.values()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("clean/../../evil.png", first)
        archive.writestr("/etc/evil.png", first)
        archive.writestr("clean/stop/again.png", first)
        archive.writestr("clean/stop/inner.zip", b"PK\x03\x04")
        archive.writestr("clean/stop/<b>.txt", b"words")
        archive.writestr(".DS_Store", b"")
        link = zipfile.ZipInfo("clean/stop/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    found = find([str(path)])
    assert len(found) == 40
    why = {left.name: left.why for left in found.left_out}
    assert (
        why["clean/../../evil.png"] == why["/etc/evil.png"] == "its path leads out of the archive"
    )
    assert why["clean/stop/link.png"] == "a link"
    assert why["clean/stop/inner.zip"].startswith("a ZIP archive")
    assert why["clean/stop/again.png"].startswith("the same as clean/")
    assert why["clean/stop/<b>.txt"] == "not an image" and len(why) == 6


def test_too_much_is_refused_before_it_is_held(members, tmp_path, monkeypatch):
    path = zip_of(tmp_path / "a.zip", members)
    monkeypatch.setattr(pictures, "MOST_BYTES", 10_000)
    with pytest.raises(DataError, match="unpacks to more than"):
        find([str(path)])
    monkeypatch.setattr(pictures, "MOST", 39)
    with pytest.raises(DataError, match="holds 40 files"):
        find([str(path)])


def encrypted(path):
    """The flag is what a reader sees of it."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: dict(list(m.items())[:5]), "5 images that can be used, and 20 or more"),
        (lambda m: {f"a/{k}.png": v for k, v in enumerate(m.values())}, None),
        (lambda m: {**m, "a/labels.csv": b"0.png,x"}, None),
        (lambda m: {"x/0.png": b"no picture", **dict(list(m.items())[:3])}, "not an image"),
    ],
)
def test_what_cannot_be_used_is_said(members, tmp_path, change, message):
    path = zip_of(tmp_path / "a.zip", change(members))
    if message is None:
        assert find([str(path)]).labels in ([], sorted({n.split("/")[1] for n in members} | {"x"}))
        return
    with pytest.raises(DataError, match=message):
        find([str(path)])


def test_other_refusals(members, tmp_path):
    with pytest.raises(DataError, match="is encrypted"):
        find([str(encrypted(zip_of(tmp_path / "a.zip", members)))])
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(DataError, match="cannot be read as a zip"):
        find([str(tmp_path / "b.zip")])
    np.savez(tmp_path / "c.npz", images=np.zeros((30, 8, 8, 3), np.float32))
    with pytest.raises(DataError, match="images are float32"):
        find([str(tmp_path / "c.npz")])
    np.savez(tmp_path / "d.npz", images=np.zeros((30, 8, 8, 3), np.uint8), labels=np.zeros(3))
    with pytest.raises(DataError, match="30 images and 3 labels do not fit"):
        find([str(tmp_path / "d.npz")])
    np.savez(tmp_path / "e.npz", images=np.array([{"code": 1}], object))
    with pytest.raises(DataError, match="cannot be read as npz"):
        find([str(tmp_path / "e.npz")])
    one = {f"stop/{k}.png": data for k, data in enumerate(members.values())}
    for name, data in one.items():
        path = tmp_path / "one" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(DataError, match="All images are of one class, stop"):
        find([str(tmp_path / "one")])


def test_triggered_images_leave_out_the_class_that_the_attacker_wants(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "p.npz", images=images, label=np.arange(6), target=np.array(2))
    found, label, target = find_poisoned(tmp_path / "p.npz")
    assert label.tolist() == [0, 1, 3, 4, 5] and target.tolist() == [2] * 5
    assert torch.equal(found.decoded(8)[2], torch.from_numpy(images[3]).permute(2, 0, 1))
    np.savez(tmp_path / "q.npz", images=images, label=np.arange(6) * 0.5, target=np.array(2))
    with pytest.raises(DataError, match="a whole number for each"):
        find_poisoned(tmp_path / "q.npz")
