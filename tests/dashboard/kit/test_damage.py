"""What ships and is damaged: the page says which file, and draws all else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.kit import library, measuring, stores
from ngf import places
from ngf.runs.folder import ARRAYS, EVENTS, RESULT, SPEC
from ngf.runs.recorded import RACE
from ngf.runs.store import Store
from tests.helpers.damage import DAMAGE, damage
from tests.helpers.pages import NAVIGATION, checked, text
from tests.helpers.run_folders import write_run

BEGIN = "from dashboard.kit import damage\ndamage.begin()\n"  # as navigation.py does
pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes are those of POSIX")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `assets` of which each test damages what it likes; the zoo is linked."""
    copy = tmp_path / "assets"
    copy.mkdir()
    for entry in places.ASSETS.iterdir():
        if entry.name in ("evidence", "measurements", "recordings"):
            shutil.copytree(entry, copy / entry.name, copy_function=linked)
        else:
            (copy / entry.name).symlink_to(entry)
    monkeypatch.setattr(places, "ASSETS", copy)
    monkeypatch.setattr(places, "MEASUREMENTS", copy / "measurements")
    monkeypatch.setattr(places, "RECORDINGS", copy / "recordings")
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    stores._store.cache_clear()  # a store remembers where things ship
    yield copy
    stores._store.cache_clear()


def linked(source: str, target: str) -> None:
    """A second name of the file, or a copy of it on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def broken(path: Path, kind: str) -> None:
    """Damage a copy of the file, not the one that ships."""
    inside = path.read_bytes()
    path.unlink()
    if kind != "missing":
        path.write_bytes(inside)
        damage(path, kind)


def opened(page: str) -> str:
    """What the page says."""
    script = f"{BEGIN}{NAVIGATION.format(first=page)}damage.tell()\n"
    return text(checked(AppTest.from_string(script, default_timeout=120).run()))


EVIDENCE = {"pairs": "start", "sharpness": "start", "summary": "start", "methods": "attacks"}


@pytest.mark.parametrize("kind", ["cut short", "empty", "a list", "garbage"])
@pytest.mark.parametrize("name", EVIDENCE)
def test_a_page_over_damaged_evidence_says_which_file(shipped: Path, name: str, kind: str) -> None:
    broken(shipped / "evidence" / f"{name}.json", kind)
    assert f"evidence/{name}.json` is damaged" in opened(EVIDENCE[name])


@pytest.mark.parametrize("kind", ["cut short", "empty", "garbage", "a folder"])
@pytest.mark.parametrize("name", [ARRAYS, RESULT, SPEC])
def test_geometry_says_which_measurement_is_damaged(shipped: Path, name: str, kind: str) -> None:
    sound = opened("geometry")
    assert "damaged" not in sound and "Measure this" not in sound
    planes = sorted((shipped / "measurements").glob("loss-plane-*"))
    for folder in planes:
        broken(folder / name, kind)
    said = opened("geometry")
    assert "is damaged" in said and "measurements/loss-plane-" in said
    assert "Curvature" in said, "the other pictures stand"


@pytest.mark.parametrize("page", ["start", "lab", "geometry", "compare", "learn", "runs"])
@pytest.mark.parametrize("name", [RESULT, EVENTS, SPEC])
def test_no_page_falls_over_a_damaged_recording(shipped: Path, name: str, page: str) -> None:
    broken(shipped / "recordings" / RACE.id / name, "cut short")
    said = opened(page)
    if page in ("start", "lab", "geometry", "compare") and name != EVENTS:
        assert f"recordings/{RACE.id}` is damaged" in said


@pytest.mark.parametrize("kind", ["cut short", "empty", "garbage", "a pipe"])
def test_a_damaged_measurement_of_ones_own_can_be_deleted(store: Store, kind: str) -> None:
    race = library.recordings()[0]
    view = measuring.View(measuring.sides(race, "ngf", with_benign=True))
    for _, spec in view.specs("loss_slice"):
        folder = write_run(store.root, spec, [])
        np.savez(folder / ARRAYS, distance=np.zeros(3))
        (folder / RESULT).write_text('{"values": {"data": "clean", "n": 64}, "complete": true}')
        damage(folder / ARRAYS, kind)
    said = opened("geometry")
    assert f"Delete it with `ngf delete {spec.id}`, then measure again." in said


def test_a_measurement_that_ships_without_its_result_is_not_waiting(shipped: Path) -> None:
    for folder in (shipped / "measurements").glob("sharpness-*"):
        broken(folder / RESULT, "missing")
    said = opened("geometry")
    assert "result.json is missing" in said and "waiting" not in said


def test_every_kind_of_damage_at_once(shipped: Path) -> None:
    measured = sorted((shipped / "measurements").iterdir())
    for kind, folder in zip(DAMAGE, measured, strict=False):
        broken(folder / ARRAYS if (folder / ARRAYS).exists() else folder / RESULT, kind)
    for page in ("start", "lab", "geometry", "compare", "learn", "runs"):
        opened(page)
