"""The index follows the folders, and what it keeps in a file is a convenience."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from ngf.config import Choice, TrainSpec
from ngf.options import SpecError
from ngf.runs import index as module
from ngf.runs.files import write_atomic
from ngf.runs.folder import CONTROL, RESULT, SPEC
from ngf.runs.index import NAME, Index
from ngf.runs.store import Store
from tests.helpers.run_folders import write_run

COUNT = 12


@pytest.fixture
def kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of finished runs, older than the clock's tick, whose index was written."""
    monkeypatch.setattr(module, "_SAVE_FROM", 1)
    monkeypatch.setattr(module, "_FRESH", 0.1)
    for seed in range(COUNT):
        write_run(store.root, spec(seed), [], done=True)
    time.sleep(0.2)
    assert len(store.runs()) == COUNT
    assert (store.root / NAME).is_file()
    return store


def spec(seed: int) -> TrainSpec:
    return TrainSpec(attack=Choice("badnets"), seed=9000 + seed)


def test_a_new_process_reads_the_file_and_not_the_folders(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {run.id: run.facts for run in kept.runs()}
    monkeypatch.setattr(module, "read_facts", lambda path: pytest.fail(f"{path} was read"))
    again = Store(kept.root, kept.zoo)
    assert {run.id: run.facts for run in again.runs()} == whole


def test_a_folder_that_changed_is_read_again(kept: Store) -> None:
    changed, gone = kept.root / spec(0).id, kept.root / spec(1).id
    write_atomic(changed / RESULT, '{"ca": 0.5, "asr": null}')
    (changed / RESULT).unlink()
    kept.delete(gone.name)
    for store in (kept, Store(kept.root, kept.zoo)):
        status = {run.id: run.status for run in store.runs()}
        assert len(status) == COUNT - 1 and status[changed.name] == "queued"
    write_atomic(changed / CONTROL, "cancel")
    assert kept.get(changed.name).status == "cancelled"


def test_two_changes_within_one_tick_of_the_clock_are_both_seen(store: Store) -> None:
    made = write_run(store.root, spec(0), [])
    index = Index()
    for command in ("pause", "cancel", "pause", "resume", "cancel") * 20:
        write_atomic(made / CONTROL, command)
        assert index.facts(made).command == command


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
        lambda path: _run(path, "UPDATE runs SET facts = 'nonsense'"),
        lambda path: _run(path, "UPDATE runs SET facts = '{\"spec\": 3}'"),
        lambda path: _run(path, "PRAGMA user_version = 99"),
        lambda path: _run(path, "DROP TABLE runs"),
    ],
)
def test_a_damaged_file_costs_time_and_nothing_else(kept: Store, harm) -> None:
    harm(kept.root / NAME)
    again = Store(kept.root, kept.zoo)
    assert {run.id: run.status for run in again.runs()} == {
        spec(seed).id: "done" for seed in range(COUNT)
    }
    assert again.runs()[0].summary()["ca"] == 0.986


def _run(path: Path, text: str) -> None:
    with sqlite3.connect(path) as file:
        file.execute(text)
    file.close()


def test_another_process_may_hold_the_file(kept: Store) -> None:
    write_run(kept.root, spec(COUNT), [], done=True)
    with sqlite3.connect(kept.root / NAME, isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert len(kept.runs()) == len(Store(kept.root, kept.zoo).runs()) == COUNT + 1
        holder.execute("ROLLBACK")
    holder.close()


def test_what_is_no_run_is_no_run_again(store: Store) -> None:
    index = Index()
    for _ in range(3):
        with pytest.raises(SpecError, match="no run"):
            index.facts(store.root / "nothing")
    made = write_run(store.root, spec(0), [])
    (made / SPEC).write_text("[]")
    with pytest.raises(SpecError):
        index.facts(made)


def test_a_folder_that_is_put_back_is_sound_again(kept: Store, tmp_path: Path) -> None:
    made = kept.root / spec(0).id
    shutil.copytree(made, tmp_path / "backup")
    (made / SPEC).write_text("[]")  # in place: the folder itself does not change
    again = Store(kept.root, kept.zoo)
    assert again.find(made.name) is not None  # its index knows it from before
    (kept.root / NAME).unlink()
    again = Store(kept.root, kept.zoo)
    assert again.find(made.name) is None and made.name in again.damaged()
    shutil.rmtree(made)
    shutil.copytree(tmp_path / "backup", made)  # with the times of then
    assert again.get(made.name).status == "done" and not again.damaged()
