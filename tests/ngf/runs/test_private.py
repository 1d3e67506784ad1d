"""Imported models are their owners' alone, with all that came of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.kit.signature import Visitor
from ngf.config import Choice, PurifySpec
from ngf.places import imports_dir
from ngf.runs.folder import RESULT, SPEC
from ngf.runs.private import Seen
from ngf.runs.store import NoSuchRun, Store
from ngf.runs.submit import submit
from tests.helpers.imported_runs import (
    CONTENT,
    import_spec,
    line,
    measurement_of,
    race_of,
    write_import,
    write_owned,
    write_reactivation,
)
from tests.helpers.run_folders import RACE, TRAIN, race_events, write_run

ADA, BOB = Visitor("a" * 32), Visitor("b" * 32)
MACHINE = Visitor("c" * 32, machine=True)
NO_COOKIES = Visitor("a" * 32, known=False)
OTHERS = pytest.mark.parametrize("other", [BOB, NO_COOKIES, Visitor("", known=False)])
OWNERS = pytest.mark.parametrize("owner", [ADA, MACHINE])
BROUGHT = import_spec()


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "data"))
    store = Store(tmp_path / "runs", zoo=tmp_path / "no-zoo")
    write_run(store.root, TRAIN, [], done=True)
    write_run(store.root, RACE, race_events(), done=True)
    return store


@pytest.fixture
def names(whole: Store) -> list[str]:
    return line(whole.root, ADA.id, BROUGHT)


def seen_by(whole: Store, visitor: Visitor) -> Seen:
    return Seen(whole, lambda: visitor)


def ids(store: Store) -> set[str]:
    return {run.id for run in store.runs()}


@OTHERS
def test_others_find_no_trace(whole: Store, names: list[str], other: Visitor) -> None:
    seen = seen_by(whole, other)
    assert ids(seen) == {TRAIN.id, RACE.id}
    assert {run.id for run in seen.trainings()} == {TRAIN.id}
    for name in (*names, f"{names[1]}:ngf"):
        assert seen.find(name) is None
        with pytest.raises(NoSuchRun) as refusal:
            seen.get(name)
        made_up = name.replace(name[:4], "nope", 1)
        with pytest.raises(NoSuchRun) as nothing:
            seen.get(made_up)
        assert str(refusal.value).replace(name, made_up) == str(nothing.value)
        assert seen.hides(f"a text on {name}.")
    assert not seen.hides(f"a text on {RACE.id}")


def test_a_reactivation_is_as_private_as_the_import(whole: Store, names: list[str]) -> None:
    """Whoever started it: it is of the model that somebody brought."""
    spec = write_reactivation(whole.root, BOB.id, f"{names[1]}:ngf")
    assert seen_by(whole, BOB).find(spec.id) is None and spec.id not in ids(seen_by(whole, BOB))
    for visitor in (ADA, MACHINE):
        assert seen_by(whole, visitor).get(spec.id).id == spec.id


@OWNERS
def test_the_owner_and_the_machine_see_all(whole: Store, names: list[str], owner: Visitor) -> None:
    seen = seen_by(whole, owner)
    assert ids(seen) == {TRAIN.id, RACE.id, *names}
    assert [seen.get(name).id for name in names] == names
    assert not seen.hides(" ".join(names))


def test_without_an_import_nobody_is_asked_for(
    whole: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> Visitor:
        raise AssertionError("nothing is private")

    write_owned(whole.root, ADA.id, measurement_of("gone-race-0123456789"))
    (whole.root / RACE.id / SPEC).write_text("damaged", encoding="utf-8")
    seen, look = Seen(whole, nobody), whole.look()
    monkeypatch.setattr(whole, "look", lambda: look)  # for longer than a blink
    assert seen.look() is look
    assert seen.damaged().keys() == {RACE.id}
    with pytest.raises(NoSuchRun, match="is damaged"):
        seen.get(RACE.id)
    assert seen.find(measurement_of("gone-race-0123456789").id) is not None


@pytest.mark.parametrize("broken", [SPEC, RESULT])
def test_what_is_damaged_is_for_the_machine_alone(
    whole: Store, names: list[str], broken: str
) -> None:
    """Also where the import itself is damaged, and what came of it starts from nothing known."""
    (whole.root / names[0] / broken).write_text("{", encoding="utf-8")
    seen = seen_by(whole, BOB)
    assert ids(seen) == {TRAIN.id, RACE.id} and not seen.damaged()
    with pytest.raises(NoSuchRun, match="There is no run"):
        seen.get(names[0])
    assert seen.find(names[1]) is None and seen.find(names[2]) is None
    assert seen_by(whole, MACHINE).damaged().keys() == {names[0]}
    assert seen_by(whole, ADA).find(names[1]) is not None


@OTHERS
def test_what_starts_from_it_is_refused_as_not_there(
    whole: Store, names: list[str], other: Visitor
) -> None:
    seen, before = seen_by(whole, other), ids(whole)
    asked = [
        race_of(names[0], seed=1),
        measurement_of(names[0]),
        measurement_of(f"{names[1]}:sgd"),
        PurifySpec(parent=TRAIN.id, lanes=(Choice("sgd"),), start=f"{names[1]}:ngf@1"),
    ]
    for spec in asked:
        with pytest.raises(NoSuchRun, match="There is no run"):
            submit(spec, seen, other.id)
    with pytest.raises(ValueError, match="cannot be trained again"):
        submit(BROUGHT, seen, other.id)
    assert ids(whole) == before


def test_the_owner_goes_on_from_it(whole: Store, names: list[str]) -> None:
    run = submit(race_of(names[0], seed=1), seen_by(whole, ADA), ADA.id)
    assert run.status == "queued" and seen_by(whole, BOB).find(run.id) is None


def test_nothing_of_a_deleted_import_stays(whole: Store, names: list[str]) -> None:
    other = import_spec(file="1" * 16, content="2" * 16)
    kept = line(whole.root, BOB.id, other)
    seen_by(whole, ADA).delete(names[0])
    assert ids(whole) == {TRAIN.id, RACE.id, *kept}
    assert [path.name for path in imports_dir().iterdir()] == [other.content]
    assert {path.name for path in whole.root.iterdir() if path.is_dir()} == ids(whole)
    assert seen_by(whole, MACHINE).hides(names[0]) is False
    assert seen_by(whole, ADA).hides(f"a sweep of {names[0]}"), "what is gone was somebody's"


def test_images_stay_that_another_import_has_too(whole: Store, names: list[str]) -> None:
    twin = import_spec(file="1" * 16)
    write_import(whole.root, ADA.id, twin)
    whole.delete(names[0])
    assert (imports_dir() / CONTENT).exists()
    whole.delete(twin.id)
    assert not (imports_dir() / CONTENT).exists()


@pytest.mark.parametrize("start", [0, 1])
def test_what_is_under_way_keeps_an_import(whole: Store, names: list[str], start: int) -> None:
    """A race on it, and a measurement of a lane of a race on it."""
    spec = race_of(names[0], seed=1) if start == 0 else measurement_of(f"{names[1]}:sgd")
    run = submit(spec, whole, ADA.id)
    with pytest.raises(ValueError, match=f"needed by {run.id}"):
        whole.delete(names[0])
    assert {*names, run.id} <= ids(whole) and (imports_dir() / CONTENT).exists()
    run.control("cancel")
    whole.delete(names[0])
    assert not ids(whole) & {*names, run.id}


def test_with_a_race_goes_what_was_measured_of_it(whole: Store, names: list[str]) -> None:
    """Alone nothing would say whose it is."""
    whole.delete(names[1])
    assert ids(whole) == {TRAIN.id, RACE.id, names[0]}
    assert (imports_dir() / CONTENT).exists()


def _spoil_result(folder: Path) -> None:
    (folder / RESULT).write_text("{", encoding="utf-8")


def _spoil_all(folder: Path) -> None:
    for name in (SPEC, RESULT):
        (folder / name).write_text("{", encoding="utf-8")


@pytest.mark.parametrize(("spoil", "images"), [(_spoil_result, False), (_spoil_all, True)])
def test_a_damaged_import_is_deleted_with_what_came_of_it(
    whole: Store, names: list[str], spoil: Callable[[Path], None], images: bool
) -> None:
    """images: whether they stay, as nothing says any more which ones they were."""
    spoil(whole.root / names[0])
    whole.delete(names[0])
    assert ids(whole) == {TRAIN.id, RACE.id}
    assert (imports_dir() / CONTENT).exists() is images


@pytest.mark.parametrize("content", ["", "..", "../../runs", "/", "0123456789abcdef/.."])
def test_a_folder_from_elsewhere_deletes_nothing_else(whole: Store, content: str) -> None:
    spec = replace(BROUGHT, content=content)
    write_run(whole.root, spec, [], done=True)
    (imports_dir() / ("3" * 16)).mkdir(parents=True)
    whole.delete(spec.id)
    assert ids(whole) == {TRAIN.id, RACE.id}
    assert (imports_dir() / ("3" * 16)).exists()
    shutil.rmtree(imports_dir())
