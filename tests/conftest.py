"""Fixtures: stores, a model that was trained in a moment, a cache that nobody else sees."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Before torch is imported, here and in the processes that tests start: tiny problems lose by
# sharing out each operation, and sums do not depend on how many cores there are.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from ngf.config import Choice, Training, TrainSpec
from ngf.runs.child import execute
from ngf.runs.store import Run, Store


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The list of plug-ins is made once for all tests, in their own folder; those in a copy of the
    source tree (`tests.helpers.house`) share the copy's, where a command has made it.
    """
    patch = pytest.MonkeyPatch()
    shared = os.environ.get("NGF_TESTS_CACHE")
    patch.setenv("NGF_CACHE", shared or str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, with an empty zoo."""
    return Store(tmp_path / "runs", tmp_path / "zoo")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of a short training, made once. Only to be read: what starts from it goes into
    another store, with a copy of its folder.
    """
    training = Training(num_images=600, epochs=2, batch_size=64, min_ca=0.05, min_asr=0.0)
    store = Store(tmp_path_factory.mktemp("trained"))
    run = store.submit(TrainSpec(attack=Choice("badnets"), training=training))
    assert execute(run) == "done", run.error
    return run


@pytest.fixture(scope="module")
def store_of_trained(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with that model, for the runs of one file that start from it."""
    root = tmp_path_factory.mktemp("runs")
    shutil.copytree(trained.path, root / trained.id)
    return Store(root)


@pytest.fixture
def one_thread() -> None:
    """Tiny problems lose by sharing out each operation; the number of threads is put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
