"""A place for the data and the cache of one test."""

import pytest

from ngf import catalogue


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    """A place for data and for the cache that no other test sees; no network."""
    catalogue.catalogue()  # made once, in the cache of all tests
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"
