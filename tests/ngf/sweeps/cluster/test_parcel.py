"""What of a run travels, and how it is put back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ngf.config import Choice, Fork, MeasureSpec, PurifySpec, TrainSpec
from ngf.options import SpecError
from ngf.runs.folder import (
    CONTROL,
    CRASHES,
    EVENTS,
    LOCK,
    REQUEST,
    RESULT,
    SPEC,
    STATE,
    WAYPOINTS,
    WEIGHTS,
)
from ngf.runs.store import Run, Store
from ngf.sweeps.cluster.parcel import forget, origins, pack, pack_origin, take_in, unpack

TRAINING = TrainSpec(attack=Choice("badnets"), seed=77)
RACE = PurifySpec(parent=TRAINING.id, lanes=(Choice("ngf"), Choice("sgd")))
FORK = PurifySpec(parent=TRAINING.id, lanes=(Choice("sgd"),), start=str(Fork(RACE.id, "ngf", 4)))
PLANE = MeasureSpec(
    target=f"{RACE.id}:ngf",
    measurement=Choice("loss_plane", {"plane": "models", "third": f"{FORK.id}:sgd"}),
)
TRACE = MeasureSpec(target=f"{RACE.id}:ngf", measurement=Choice("fisher_trace"))


def write(run: Run, **files: str) -> None:
    for name, text in files.items():
        path = run.path / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def run(store: Store) -> Run:
    return store.submit(TRAINING)


def test_what_others_start_from_comes_along(store: Store) -> None:
    assert origins(store.submit(TRAINING)) == {}
    assert origins(store.submit(RACE)) == {TRAINING.id: False}
    assert origins(store.submit(FORK)) == {TRAINING.id: True, RACE.id: True}, "a step of the race"
    assert origins(store.submit(TRACE)) == {RACE.id: False, TRAINING.id: False}
    several = {RACE.id: True, FORK.id: True, TRAINING.id: False}
    assert origins(store.submit(PLANE)) == several, "with the way of the optimizer"


def test_what_ships_with_the_program_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    of_the_zoo = PurifySpec(parent="signs-badnets-s0-36a7376469", lanes=(Choice("sgd"),))
    assert origins(store.submit(of_the_zoo)) == {}


def test_a_folder_travels_without_what_belongs_to_its_place(run: Run) -> None:
    write(run, **{LOCK: "", EVENTS: "{}\n", f"{STATE}__1": "s", "before-1__x": "", ".reserve": ""})
    assert set(pack(run.path)) == {SPEC, REQUEST, EVENTS, f"{STATE}/1"}
    write(run, **{CONTROL: "resume 1", WEIGHTS: "w", f"{WAYPOINTS}__1": "p"})
    assert set(pack_origin(run, path_too=False)) == {SPEC, REQUEST, EVENTS, WEIGHTS}
    assert set(pack_origin(run, path_too=True)) == {
        SPEC,
        REQUEST,
        EVENTS,
        WEIGHTS,
        f"{WAYPOINTS}/1",
    }


def test_what_came_back_takes_the_place_of_what_was_there(run: Run, tmp_path: Path) -> None:
    write(run, **{EVENTS: "1\n", CONTROL: "pause", CRASHES: "{}", f"{STATE}__old": "1"})
    asked = (run.path / REQUEST).read_text()
    parcel = {
        SPEC: b"another",
        REQUEST: b"another",
        CONTROL: b"another",
        EVENTS: b"1\n2\n",
        f"{STATE}/2/count.json": b"[2]",
    }
    take_in(run, parcel)
    assert (run.path / EVENTS).read_text() == "1\n2\n"
    assert (run.path / CONTROL).read_text() == "pause" and run.spec == TRAINING
    assert (run.path / REQUEST).read_text() == asked
    assert [path.name for path in (run.path / STATE).iterdir()] == ["2"]
    assert not (run.path / CRASHES).exists(), "it ended in order"
    take_in(run, {EVENTS: b"1\n2\n3\n"})
    assert not (run.path / STATE).exists() and not list(run.path.glob(".*"))
    unpack(tmp_path / "there", pack(run.path))
    assert pack(tmp_path / "there") == pack(run.path)


def test_what_ends_a_run_comes_last(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between any two steps leaves a run that has not ended, or one that is whole."""
    replaced: list[str] = []
    replace = os.replace

    def watched(old: Path, new: Path) -> None:
        replaced.append(Path(new).name)
        replace(old, new)

    monkeypatch.setattr(os, "replace", watched)
    take_in(run, {RESULT: b"{}", WEIGHTS: b"w", EVENTS: b"", "zzz": b""})
    assert replaced[-1] == RESULT and len(replaced) == 4


def test_what_a_kill_left_half_unpacked_is_forgotten(run: Run) -> None:
    write(run, **{".arriving-x__half": ""})
    forget(run)
    assert not list(run.path.glob(".arriving*"))


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", ""])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="is no file of a run"):
        unpack(tmp_path / "run", {name: b""})
    assert not (tmp_path / "out").exists()
