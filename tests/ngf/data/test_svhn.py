"""SVHN: the digit zero is class 0."""

from tests.helpers import data_files
from tests.helpers.data_files import whole


def test_svhn_calls_the_digit_zero_zero(own_folders, monkeypatch):
    written = data_files.write_svhn(own_folders, monkeypatch)
    assert (
        int((whole("svhn", "test").labels == 0).sum()) == int((written["test"][1] == 0).sum()) > 0
    )
