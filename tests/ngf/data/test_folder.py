"""Your own images: what is read, what is refused, and runs on them."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ngf.checkpoints.weights import WeightsError, load_model
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.data import DataError, load
from ngf.runs.child import execute
from ngf.runs.submit import checked
from tests.helpers import data_files
from tests.helpers.data_files import source, whole

# what is wrong with one picture -> how it is written
_PICTURES = {
    "size": lambda path: data_files.picture(20, 30).save(path),
    "mode": lambda path: data_files.picture(24, 24).convert("L").save(path),
    "palette": lambda path: data_files.picture(24, 24).convert("P").save(path),
    "sixteen bits of gray": lambda path: Image.fromarray(np.zeros((24, 24), np.uint16)).save(path),
    "numbers": lambda path: Image.new("F", (24, 24)).save(path, format="TIFF"),
    "cmyk": lambda path: data_files.picture(24, 24).convert("CMYK").save(path, format="TIFF"),
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
        ({"size": 24}, "sixteen bits of gray", r"RGB \(29\), L \(1\)"),
        (
            None,
            "numbers",
            r"17 training images, not 18.* left out 1: 1 × pixels of mode F, not gray",
        ),
        (None, "cut", r"17 training images, not 18.* left out 1: 1 × damaged \(red/000.png\)"),
        (
            None,
            "garbage",
            r"15 training images, not 18. Ask for 15 or fewer. Of its files, left out 5: "
            r"5 × not an image \(red/000.png, red/001.png, red/002.png, 2 more\)",
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


def test_what_is_no_image_is_left_out_and_told(own_folders):
    """Damaged, of other formats, in sub-folders, beside the classes, links and pipes, names that
    are not UTF-8: images are used, all else has a reason, hidden files are skipped.
    """
    base = data_files.write_folder(own_folders, images=12, classes=("green", "red"))
    red, raw = base / "red", (base / "red/000.png").read_bytes()
    (red / "no suffix").write_bytes(raw)
    (red / "odd.txt").write_bytes(raw)
    (base / "green/LOUD.PNG").write_bytes(raw)
    Path(os.fsdecode(os.fsencode(red) + b"/caf\xe9.png")).write_bytes(raw)
    for name in (".DS_Store", "._000.png", "Thumbs.db", "desktop.ini"):
        (red / name).write_bytes(raw)
    frames = [data_files.picture(24, 24) for _ in range(3)]
    frames[0].save(red / "moves.png", save_all=True, append_images=frames[1:])
    (red / "cut.png").write_bytes(raw[:-300])
    (red / "empty.png").write_bytes(b"")
    (red / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    (red / "notes.txt").write_text("no image")
    Path(os.fsdecode(os.fsencode(red) + b"/\xff.txt")).write_text("no image")
    (red / "more").mkdir()
    (red / "more/1.png").write_bytes(raw)
    (red / "circle.png").symlink_to("circle.png")
    (red / "gone.png").symlink_to("nowhere.png")
    (red / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(red / "pipe.png")
    (base / "circle").symlink_to("circle")
    (base / "beside.png").write_bytes(raw)
    phases = []
    splits = load("folder", num_train=14, num_clean=2)
    splits.prepare(lambda *what: phases.append(what[0]))
    facts = splits.source.facts
    assert sum(facts["pools"].values()) == 12 + 12 + 5 and len(splits.train) == 14
    assert dict(facts["left_out"]["files"]).keys() == {
        "beside.png", "circle", "red/circle.png", "red/cut.png", "red/empty.png", "red/gone.png",
        "red/more", "red/notes.txt", "red/pipe.png", "red/script.png", "red/zero.png",
        "red/\\xff.txt",
    }  # fmt: skip
    said = next(phase for phase in phases if phase.startswith("left out"))
    assert said == facts["left_out"]["said"] and said.startswith("left out 12: ")
    assert "2 × not an image (red/notes.txt, red/\\xff.txt)" in said
    assert "of 1 with several pictures the first was taken (red/moves.png)" in said
    why = dict(facts["left_out"]["files"])
    assert why["red/more"] == "a folder in a class: 1 file"
    assert why["red/circle.png"] == why["circle"] == "a link in a circle"
    assert why["red/script.png"].startswith("PostScript, not JPEG")


def test_a_look_is_kept_until_a_file_changes(own_folders):
    base = data_files.write_folder(own_folders, images=12, classes=("green", "red"))
    looks = []
    for _ in range(2):
        load("folder", num_train=14).prepare(lambda *what: looks.append(what))
    assert [what for what in looks if what[0] == "looking at images"] == [
        ("looking at images", 0, 24)
    ]
    (base / "red/000.png").write_bytes(b"no image")
    (base / "red/new.png").write_bytes((base / "red/001.png").read_bytes())
    splits = load("folder", num_train=14)
    splits.prepare(lambda *what: looks.append(what))
    assert ("looking at images", 0, 2) in looks
    assert splits.source.facts["left_out"]["files"] == [["red/000.png", "not an image"]]
    for path in (own_folders.parent / "cache/looked").iterdir():
        path.write_text('{"version": 2, "files": [[1, 2], "no"]}')
    assert load("folder").source.facts["pools"] == splits.source.facts["pools"]


def test_a_class_whose_name_is_not_utf8_is_trained_on(own_folders, store):
    base = data_files.write_folder(own_folders, images=60, classes=("green", "red"))
    os.rename(os.fsencode(base / "red"), os.fsencode(base) + b"/r\xe9d")
    (base / "dataset.json").write_text(json.dumps({"mirror": ["r\\xe9d"]}))
    (base / "green/x.txt").write_text("no image")
    training = Training(num_images=72, epochs=2, batch_size=20, min_ca=0.0, min_asr=0.0)
    run = store.submit(
        TrainSpec(data="folder", attack=Choice("badnets", {"size": 3}), training=training)
    )
    assert execute(run) == "done", run.error
    facts = run.result["facts"]
    assert facts["classes"] == ["green", "r\\xe9d"] and facts["survives_flip"] == [False, True]
    assert facts["left_out"]["files"] == [["green/x.txt", "not an image"]]
    told = [event["phase"] for event in run.events() if event["type"] == "phase"]
    assert "left out 1: 1 × not an image (green/x.txt)" in told


@pytest.fixture
def as_nobody(monkeypatch):
    """Folders of their own, and a user who cannot read everything."""
    place = Path(tempfile.mkdtemp())
    for folder in (place, place / "cache"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    monkeypatch.setenv("NGF_DATA", str(place))
    monkeypatch.setenv("NGF_CACHE", str(place / "cache"))
    yield place
    shutil.rmtree(place)


def test_what_may_not_be_read_is_told(own_folders, as_nobody):
    base = data_files.write_folder(as_nobody, images=12, classes=("green", "red"))
    (base / "red/000.png").chmod(0)
    me = os.geteuid()
    try:
        if me == 0:  # who reads everything
            os.seteuid(65534)
        assert source("folder").facts["left_out"]["files"] == [
            ["red/000.png", "cannot be opened: permission denied"]
        ]
        os.seteuid(me)
        (base / "red").chmod(0)
        os.utime(base / "red", (1, 1))  # a listing is kept until a folder changes
        os.seteuid(65534 if me == 0 else me)
        with pytest.raises(DataError, match="red cannot be opened: permission denied"):
            _ = source("folder").facts
    finally:
        os.seteuid(me)
        (base / "red").chmod(0o755)


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
