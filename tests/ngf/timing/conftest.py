"""Fixtures of what is timed."""

from __future__ import annotations

import pytest

from ngf.catalogue import catalogue


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Times of this test alone; the list of plug-ins is in memory already."""
    catalogue()
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
