"""Fixtures: a store in a folder of its own, and a cache that no other test or user sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngf.runs.store import Store


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The list of plug-ins is made once for all tests, in their own folder."""
    patch = pytest.MonkeyPatch()
    patch.setenv("NGF_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, with an empty zoo."""
    return Store(tmp_path / "runs", tmp_path / "zoo")


@pytest.fixture
def one_thread() -> None:
    """Tiny problems lose by sharing out each operation; the number of threads is put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
