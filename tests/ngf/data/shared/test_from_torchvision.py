"""What torchvision downloads: published arrays, damaged files, and downloads."""

import numpy as np
import pytest

from ngf.data import DataError, svhn
from ngf.data.shared.from_torchvision import rows_of
from tests.helpers import data_files
from tests.helpers.data_files import source, whole


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


@pytest.mark.parametrize(
    ("name", "file"), [("cifar10", "cifar-10-batches-py/data_batch_3"), ("svhn", "train_32x32.mat")]
)
def test_a_damaged_file_is_found_by_its_sum(name, file, own_folders, monkeypatch):
    getattr(data_files, f"write_{name}")(own_folders, monkeypatch)
    path = own_folders / file
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    with pytest.raises(DataError, match=r"damaged.*[Dd]elete.*start again"):
        source(name).load("train", np.arange(3))


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
