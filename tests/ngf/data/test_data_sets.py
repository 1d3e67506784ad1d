"""Data sets on disk: what is read of their real formats, what is refused, and how little
memory it takes.
"""

import json
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from ngf import catalogue
from ngf.attacks.poison import poison, trigger_test_set
from ngf.catalogue import build
from ngf.checkpoints.weights import WeightsError, load_model
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.data import DataError, Images, images, load, svhn
from ngf.data.gtsrb import by_rows
from ngf.data.shared import decoded
from ngf.data.shared.folders import divide
from ngf.data.shared.from_torchvision import rows_of
from ngf.runs.child import execute
from ngf.runs.submit import checked
from tests.helpers import data_files


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """A place for data and for the cache that no other test sees; no network."""
    catalogue.catalogue()  # made once, in the cache of all tests
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def source(name):
    return build("data", Choice(name))


def whole(name, pool):
    made = source(name)
    return made.load(pool, np.arange(made.facts["pools"][pool]))


@pytest.mark.parametrize("name", ["cifar10", "svhn"])
def test_arrays_come_as_they_were_published(name, own_folders, monkeypatch):
    write = getattr(data_files, f"write_{name}")
    written = write(own_folders, monkeypatch)
    pools = source(name).facts["pools"]
    for pool, split in (("train", "train"), ("holdout", "train"), ("test", "test")):
        images, labels = written[split]
        rows = rows_of(pool, np.arange(pools[pool]), pools)
        found = whole(name, pool)
        assert np.array_equal(found.images.numpy(), images[rows])
        assert np.array_equal(found.labels.numpy(), labels[rows])
    assert sorted(
        [
            *rows_of("train", np.arange(pools["train"]), pools),
            *rows_of("holdout", np.arange(pools["holdout"]), pools),
        ]
    ) == list(range(len(written["train"][0])))


def test_svhn_calls_the_digit_zero_zero(own_folders, monkeypatch):
    written = data_files.write_svhn(own_folders, monkeypatch)
    assert (
        int((whole("svhn", "test").labels == 0).sum()) == int((written["test"][1] == 0).sum()) > 0
    )


@pytest.mark.parametrize(
    ("name", "file"), [("cifar10", "cifar-10-batches-py/data_batch_3"), ("svhn", "train_32x32.mat")]
)
def test_a_damaged_file_is_found_by_its_sum(name, file, own_folders, monkeypatch):
    getattr(data_files, f"write_{name}")(own_folders, monkeypatch)
    path = own_folders / file
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    with pytest.raises(DataError, match=r"damaged.*[Dd]elete.*start again"):
        source(name).load("train", np.arange(3))


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


def test_a_download_says_how_far_it_is_and_can_be_stopped(own_folders, monkeypatch):
    written, said = data_files.write_svhn(own_folders / "server", monkeypatch), []

    def fetch(url, root, filename, md5):
        own_folders.joinpath(filename).write_bytes((own_folders / "server" / filename).read_bytes())

    monkeypatch.setattr("torchvision.datasets.svhn.download_url", fetch)
    source("svhn").prepare("test", np.arange(2), lambda *what: said.append(what))
    assert said[0] == ("downloading SVHN (house numbers) (MB)", 0, 64)
    assert np.array_equal(whole("svhn", "test").images.numpy(), written["test"][0])

    def stop(*what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        svhn.SVHN().prepare("train", np.arange(2), stop)


def test_gtsrb_reads_the_table_and_keeps_rows_of_pictures_together(own_folders, monkeypatch):
    data_files.write_gtsrb(own_folders, monkeypatch)
    test = whole("gtsrb", "test")
    assert test.labels.tolist() == [(k * 7) % 43 for k in range(50)]
    assert len(source("gtsrb").facts["classes"]) == 43
    pools = source("gtsrb")._set.pools
    assert np.bincount(pools["holdout"].labels).tolist() == [3] * 43
    assert np.bincount(pools["train"].labels).tolist() == [6] * 43
    files = data_files_of(own_folders / "gtsrb")
    order = by_rows(files)
    rows = [files.names[k].rpartition("_")[0] for k in order]
    assert not set(rows[:-129]) & set(rows[-129:])


def data_files_of(root):
    from ngf.data.shared.folders import find_files

    return find_files(root, [f"GTSRB/Training/{label:05d}" for label in range(43)])[0]


def test_gtsrb_squeezes_the_whole_picture_into_the_square(own_folders, monkeypatch):
    data_files.write_gtsrb(own_folders, monkeypatch)
    striped = np.zeros((30, 60, 3), np.uint8)
    striped[:, :30, 0] = (
        200  # red on the left, blue on the right: a crop would lose the outer parts
    )
    striped[:, 30:, 2] = 200
    data_files.save(
        Image.fromarray(striped), own_folders / "gtsrb/GTSRB/Final_Test/Images/00000.ppm"
    )
    image = source("gtsrb").load("test", np.arange(1)).images[0]
    assert image[0, :, :14].eq(200).all() and image[2, :, 18:].eq(200).all()
    assert not image[0, :, 18:].any() and not image[2, :, :14].any()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("count", "should hold 387 training images, but holds 386"),
        ("folder", r"1 of the 43 folders .* GTSRB/Training/00042"),
        ("table", "classes from 0 to 42"),
        ("header", "Filename and ClassId"),
    ],
)
def test_incomplete_gtsrb_is_refused(damage, message, own_folders, monkeypatch):
    data_files.write_gtsrb(own_folders, monkeypatch)
    base = own_folders / "gtsrb"
    if damage == "count":
        (base / "GTSRB/Training/00000/00000_00000.ppm").unlink()
    elif damage == "folder":
        (base / "GTSRB/Training/00042").rename(base / "elsewhere")
    elif damage == "table":
        (base / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;43\n")
    else:
        (base / "GT-final_test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=message):
        source("gtsrb").load("test", np.arange(1))


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


# what is wrong with one picture -> how it is written
_PICTURES = {
    "size": lambda path: data_files.picture(20, 30).save(path),
    "mode": lambda path: data_files.picture(24, 24).convert("L").save(path),
    "palette": lambda path: data_files.picture(24, 24).convert("P").save(path),
    "cmyk": lambda path: data_files.picture(24, 24).convert("CMYK").save(path, format="TIFF"),
    "sixteen bits": lambda path: Image.fromarray(np.zeros((24, 24), np.uint16)).save(path),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-300]),
}


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (
            None,
            "size",
            r"are 24x24 \(29\), 30x20 \(1\); they must be squares of one size.*\"size\": 64",
        ),
        (
            {"size": 24},
            "mode",
            r"color modes RGB \(29\), L \(1\); they must all be.*\"color\": \"rgb\"",
        ),
        ({"size": 24}, "palette", r"RGB \(29\), P \(1\)"),
        ({"size": 24}, "cmyk", r"RGB \(29\), CMYK \(1\)"),
        (
            {"size": 24, "color": "rgb"},
            "sixteen bits",
            r"1 image in .* cannot be read: red/000.png \(mode I;16",
        ),
        (None, "cut", r"1 image in .* cannot be read: red/000.png .*Delete it"),
        (
            None,
            "garbage",
            r"5 images in .* cannot be read: red/000.png \(not an image\), .* and 2 more. "
            "Delete them",
        ),
        (None, "one class", "two classes or more.*only one, red"),
        (None, "no class", "in .* there is none"),
        (None, "few", r"10 images or more.*, but red \(9\) has fewer"),
        (None, "no test", "has a folder train but none called test"),
        (None, "no train", "has a folder test but none called train"),
        (None, "other classes", "Both need the same folders"),
        ({"size": 5}, "", "size is 5. Allowed"),
        ({"colour": "rgb"}, "", "holds .*colour.*Allowed"),
        ({"mirror": ["reed"]}, "", "mirror names reed, which is no class. Classes: green, red"),
    ],
)
def test_a_folder_that_cannot_be_used_says_what_to_do(settings, change, message, own_folders):
    base = data_files.write_folder(
        own_folders, images=15, classes=("green", "red"), settings=settings
    )
    first = base / "red/000.png"
    if change in _PICTURES:
        _PICTURES[change](first)
    elif change in ("garbage", "few"):
        for k in range(5 if change == "garbage" else 6):
            file = base / f"red/{k:03d}.png"
            file.unlink() if change == "few" else file.write_bytes(b"no picture")
    elif change in ("one class", "no class"):
        for name in ("green", "red")[: 1 if change == "one class" else 2]:
            (base / name).rename(base / f".{name}")
    elif change in ("no test", "no train", "other classes"):
        (base / "green").rename(base / ("train" if change != "no train" else "test"))
        if change == "other classes":
            (base / "train").mkdir(exist_ok=True)
            (base / "test" / "blue").mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        load("folder", num_train=18).prepare()


def test_a_folder_brings_every_mode_and_size_to_one(own_folders):
    base = data_files.write_folder(
        own_folders,
        images=12,
        classes=("green", "red"),
        settings={"size": 32, "color": "rgb", "mirror": ["red"]},
    )
    clear = Image.new("RGBA", (40, 50), (0, 0, 0, 0))
    others = [
        data_files.picture(40, 30, "L"),
        clear,
        data_files.picture(24, 24).convert("P"),
        data_files.picture(64, 64).convert("CMYK"),
        Image.new("1", (33, 33), 1),
    ]
    for k, picture in enumerate(others):
        picture.save(base / f"red/{k:03d}.{'tif' if picture.mode == 'CMYK' else 'png'}")
        (base / f"red/{k:03d}.png").unlink() if picture.mode == "CMYK" else None
    made = source("folder")
    assert made.facts["shape"] == [3, 32, 32]
    assert made.facts["survives_flip"] == [False, True]
    images = torch.cat([whole("folder", pool).images for pool in ("train", "holdout", "test")])
    assert len(images) == 24
    white = (images == 255).flatten(1).all(1)
    assert int(white.sum()) == 2  # what is transparent, and what is one bit, white


def test_a_folder_of_gray_images_has_one_channel(own_folders):
    data_files.write_folder(own_folders, images=12, mode="L")
    assert source("folder").facts["shape"] == [1, 24, 24]


def test_a_folder_may_bring_its_own_test_images(own_folders):
    base = data_files.write_folder(own_folders, images=16, classes=("green", "red"))
    for name in ("green", "red"):
        for part, keep in (("train", range(12)), ("test", range(12, 16))):
            (base / part / name).mkdir(parents=True)
            for k in keep:
                (base / name / f"{k:03d}.png").rename(base / part / name / f"{k:03d}.png")
        (base / name).rmdir()
    made = source("folder")
    assert made.facts["pools"] == {"train": 18, "holdout": 6, "test": 8}
    assert whole("folder", "test").labels.bincount().tolist() == [4, 4]


def test_pools_are_cut_class_by_class():
    labels = np.repeat([0, 1, 2], [10, 50, 7])
    parts = divide(labels, (0.6, 0.2, 0.2))
    assert sorted(np.concatenate(parts)) == list(range(67))
    assert [np.bincount(labels[part]).tolist() for part in parts] == [
        [6, 30, 4],
        [2, 10, 2],
        [2, 10, 1],
    ]
    assert all(
        np.array_equal(a, b) for a, b in zip(parts, divide(labels, (0.6, 0.2, 0.2)), strict=True)
    )


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


def test_large_images_lie_in_a_file_and_are_the_same(monkeypatch):
    clean = Images(
        torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8), torch.arange(300) % 5
    )
    attack = build("attacks", Choice("blend"))
    small = (
        poison(clean, attack, 5, seed=0),
        trigger_test_set(clean, attack, 5),
        clean.take(clean.labels > 2),
    )
    monkeypatch.setattr(images, "LARGE", 2**14)
    monkeypatch.setattr(images, "_CHUNK", 2**14)
    mapped = []
    real = np.memmap
    monkeypatch.setattr(
        np, "memmap", lambda *args, **options: mapped.append(real(*args, **options)) or mapped[-1]
    )
    large = (
        poison(clean, attack, 5, seed=0),
        trigger_test_set(clean, attack, 5),
        clean.take(clean.labels > 2),
    )
    assert len(mapped) >= 4
    for one, other in zip(
        (small[0].data, small[1].data, small[2]),
        (large[0].data, large[1].data, large[2]),
        strict=True,
    ):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_the_catalogue_needs_no_files(own_folders):
    known = catalogue.catalogue()["data"]
    assert {"cifar10", "folder", "gtsrb", "imagenet", "svhn", "tiny_imagenet"} <= set(known)
    for name, about in known.items():
        assert about["source"] and about["license"], name
        assert name == "signs" or about["files"] and about["advice"], name
    assert len(known["gtsrb"]["classes"]) == 43
    assert catalogue.missing_files("folder") == ["folder"]
    assert catalogue.missing_files("signs") == []


def test_what_is_not_there_and_cannot_be_downloaded_is_refused_when_asked_for(own_folders, store):
    with pytest.raises(
        ValueError, match=r"Your own images: folder is missing in .*Put a folder of images"
    ):
        checked(TrainSpec(data="folder"), store)
    data_files.write_folder(own_folders, images=10)
    assert checked(TrainSpec(data="folder"), store).data == "folder"
    assert checked(TrainSpec(data="cifar10"), store).data == "cifar10"  # which can be downloaded


def test_a_folder_is_trained_on_purified_and_refused_when_its_images_change(own_folders, store):
    base = data_files.write_folder(own_folders, images=80)
    training = Training(num_images=140, epochs=2, batch_size=20, min_ca=0.0, min_asr=0.0)
    run = store.submit(
        TrainSpec(data="folder", attack=Choice("badnets", {"size": 3}), training=training)
    )
    assert execute(run) == "done", run.error
    race = store.submit(
        PurifySpec(parent=run.id, lanes=(Choice("sgd", {"steps": 2, "lr": 0.01}),), num_clean=20)
    )
    assert execute(race) == "done", race.error
    (base / "blue/000.png").unlink()
    with pytest.raises(WeightsError, match="not those that .* was trained on"):
        load_model(store, run.id)


def test_too_many_images_are_refused_before_anything_is_decoded(own_folders, store):
    data_files.write_folder(own_folders, images=20)
    run = store.submit(TrainSpec(data="folder", training=Training(num_images=40)))
    assert execute(run) == "failed"
    assert "has 36 training images, not 40. Ask for 36 or fewer." in run.error["message"]
    assert run.error["kind"] == "data"
