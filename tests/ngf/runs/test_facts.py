"""One bad folder is one bad folder: every file of a run, damaged in every way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ngf.options import SpecError
from ngf.runs.facts import check_links, read_facts
from ngf.runs.files import Damaged
from ngf.runs.folder import CONTROL, REQUEST, RESULT, SPEC, STATE
from ngf.runs.store import NoSuchRun, PurifyRun, Store
from tests.helpers.damage import DAMAGE, FILES, damage
from tests.helpers.processes import check_whole, counting, supervised, wait_status
from tests.helpers.run_folders import RACE, TRAIN, race_events, write_run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes are those of POSIX")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Somebody else's files, to which a link may lead."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "000000001").mkdir()
    (tmp_path / "outside" / "000000001" / "precious").write_text("kept")
    (tmp_path / "outside.txt").write_text("kept")
    return tmp_path


def check_untouched(outside: Path) -> None:
    assert (outside / "outside.txt").read_text() == "kept"
    assert (outside / "outside" / "000000001" / "precious").read_text() == "kept"


@pytest.mark.parametrize("name", FILES)
def test_any_damage_to_any_file_stays_where_it_is(outside: Path, name: str) -> None:
    for number, kind in enumerate(DAMAGE):
        store = Store(outside / f"runs-{number}", outside / "zoo")
        trained = write_run(store.root, TRAIN, [], done=True)
        raced = write_run(store.root, RACE, race_events(), done=True)
        damage(raced / name, kind)
        seen = {run.id for run in store.runs()}
        assert TRAIN.id in seen
        assert seen == {TRAIN.id} | ({RACE.id} - store.damaged().keys()), kind
        found = store.find(RACE.id)
        assert (found is not None) == (RACE.id in seen), kind
        if found is None:  # said, and found again once the file is put right
            assert name == SPEC or store.damaged()[RACE.id], kind
            with pytest.raises(NoSuchRun):
                store.get(RACE.id)
        else:
            assert isinstance(found, PurifyRun)
            assert found.summary()["id"] == RACE.id and found.status, kind
            found.events(), found.error, found.training(), store.queue()
        if found is not None or RACE.id in store.damaged():
            store.delete(RACE.id)
        assert not raced.exists() or name == SPEC, kind
        assert trained.is_dir()
        check_untouched(outside)


def test_supervisor_passes_over_every_damaged_folder(outside: Path) -> None:
    store = Store(outside / "runs", outside / "zoo")
    seed = 0
    for name in FILES:
        for kind in DAMAGE:
            seed += 1
            run = store.submit(counting(seed, steps=1))
            run.control("pause")  # else each of those that survive would be executed, one by one
            damage(run.path / name, kind)
            if name == CONTROL and kind in ("empty", "a folder"):
                shutil.rmtree(run.path)
    good = store.submit(counting(0, steps=5))
    with supervised(store) as process:
        wait_status(good, "done")
        assert process.poll() is None
    check_whole(good)
    assert len(store.damaged()) > len(FILES) * 5
    check_untouched(outside)


def test_runs_that_start_from_each_other_have_no_training(store: Store) -> None:
    made = write_run(store.root, RACE, [], done=True)
    (made / SPEC).write_text(f'{{"kind": "purify", "parent": "{RACE.id}", "lanes": ["ngf"]}}')
    own = read_facts(made).id
    made = made.rename(store.root / own)
    (made / SPEC).write_text(f'{{"kind": "purify", "parent": "{own}", "lanes": ["ngf"]}}')
    again = read_facts(made).id
    made.rename(store.root / again)
    assert all(run.training() is None for run in store.runs())


def test_a_folder_is_the_run_that_its_specification_names(store: Store) -> None:
    made = write_run(store.root, TRAIN, [], done=True)
    made.rename(store.root / "another-name")
    assert store.find("another-name") is None
    assert TRAIN.id in store.damaged()["another-name"]


def test_facts_of_a_sound_folder(store: Store) -> None:
    made = write_run(store.root, TRAIN, [])
    facts = read_facts(made)
    assert (facts.id, facts.ended, facts.command, facts.attempts) == (TRAIN.id, "", "", 0)
    (made / CONTROL).write_text("resume 2")
    (made / REQUEST).unlink()
    facts = read_facts(made)
    assert (facts.command, facts.starts, facts.request["owner"]) == ("resume", 2, "")
    (made / RESULT).write_text("{}")
    with pytest.raises(Damaged, match="no clean accuracy"):
        read_facts(made)
    with pytest.raises(SpecError, match="no run"):
        read_facts(store.root)


def test_links_are_found_at_any_depth(store: Store, outside: Path) -> None:
    made = write_run(store.root, TRAIN, [])
    (made / STATE / "000000001").mkdir(parents=True)
    check_links(made)
    (made / STATE / "000000001" / "model").symlink_to(outside / "outside.txt")
    with pytest.raises(Damaged, match="link"):
        check_links(made)
