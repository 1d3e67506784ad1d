"""GTSRB: its table, its rows of pictures, whole pictures, and what is incomplete."""

import numpy as np
import pytest
from PIL import Image

from ngf.data import DataError
from ngf.data.gtsrb import by_rows
from ngf.data.shared.folders import find_files
from tests.helpers import data_files
from tests.helpers.data_files import source, whole


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
