"""Routes and pages over run folders that are damaged in every way: an answer, and never a 500."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.kit.pages import pages
from ngf.config import Choice, MeasureSpec
from ngf.runs.folder import ARRAYS, SPEC
from ngf.runs.store import Store
from tests.helpers.damage import DAMAGE, FILES, damage
from tests.helpers.pages import NAVIGATION, checked
from tests.helpers.run_folders import (
    RACE,
    TRAIN,
    get,
    measured,
    race_events,
    server,
    write_run,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes are those of POSIX")
SPECTRUM = MeasureSpec(target=TRAIN.id, measurement=Choice("hessian_spectrum"))
CHARTS = {TRAIN.id: "training", RACE.id: "race"}


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three sound runs; their store is that of the pages."""
    store = made(tmp_path)
    monkeypatch.setenv("NGF_RUNS", str(store.root))
    return store


def made(tmp_path: Path) -> Store:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside.txt").write_text("kept")
    store = Store(tmp_path / "runs", tmp_path / "zoo")
    write_run(store.root, TRAIN, [], done=True)
    write_run(store.root, RACE, race_events(20), done=True)
    grid = np.linspace(0.0, 1.0, 5)
    values = {"trace": 1.0, "largest": 2.0}
    measured(store, "fisher_trace", TRAIN.id, values, {"by_layer": grid})
    return store


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """A store of three sound runs, and the address of a real server over it."""
    store = made(tmp_path_factory.mktemp("served"))
    with server(store.root) as url:
        yield store, url


@pytest.mark.parametrize("name", FILES)
def test_every_route_answers_over_every_damage(
    served: tuple[Store, str], name: str, tmp_path: Path
) -> None:
    damaged, url = served
    shutil.copytree(damaged.root, tmp_path / "sound")
    ids = sorted(run.name for run in damaged.root.iterdir() if not run.name.startswith("."))
    for kind in DAMAGE:
        for run_id in ids:
            damage(damaged.root / run_id / name, kind)
            for route in ("", "/events", f"/charts/{CHARTS.get(run_id, 'fisher_trace')}"):
                status, _, answer = get(f"{url}/api/runs/{run_id}{route}")
                assert status in (200, 400, 404, 422), (kind, run_id, route, answer)
                assert isinstance(answer, dict), (kind, run_id, route)
            status, _, rows = get(f"{url}/api/runs?source=user")
            assert status == 200
            assert {row["id"] for row in rows} - {run_id} == set(ids) - {run_id}, (kind, run_id)
            shutil.rmtree(damaged.root / run_id)
            shutil.copytree(tmp_path / "sound" / run_id, damaged.root / run_id)


@pytest.mark.parametrize("page", list(pages()))
def test_every_page_opens_over_all_damage_at_once(damaged: Store, page: str) -> None:
    for name in FILES:
        for kind in DAMAGE:
            made = damaged.root / f"folder-{len(list(damaged.root.iterdir()))}"
            shutil.copytree(damaged.root / RACE.id, made)
            damage(made / name, kind)
    for kind in DAMAGE:  # under its own name, so that only this file is wrong
        other = damaged.submit(SPECTRUM.__class__(**{**vars(SPECTRUM), "seed": hash(kind) % 1000}))
        damage(other.path / ARRAYS, kind)
    checked(AppTest.from_string(NAVIGATION.format(first=page), default_timeout=120).run())
    assert (damaged.root / TRAIN.id / SPEC).is_file()
