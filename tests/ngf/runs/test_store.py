"""The store: which runs there are, what state they are in, and what may be done with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ngf.config import REVISION, Choice, MeasureSpec, PurifySpec, TrainSpec, spec_from_json
from ngf.options import SpecError
from ngf.places import EARLIER, ROOT
from ngf.runs.child import write_error
from ngf.runs.files import to_json
from ngf.runs.folder import ERROR, EVENTS, RESULT, SPEC, STATE
from ngf.runs.log import read_events
from ngf.runs.recorded import RACE as RECORDED
from ngf.runs.store import Store, fair_order
from ngf.runs.submit import submit
from tests.helpers.processes import (
    PIPELINE,
    check_whole,
    counting,
    supervised,
    wait_status,
    wait_steps,
)
from tests.helpers.run_folders import race_events, write_run


def test_identical_requests_are_one_run(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: store.submit(counting()), range(24)))
    assert {run.id for run in runs} == {runs[0].id}
    assert [path.name for path in store.root.iterdir() if not path.name.startswith(".")] == [
        runs[0].id
    ]
    assert [run.id for run in store.runs()] == [runs[0].id]
    assert runs[0].status == "queued" and runs[0].spec == counting()
    assert json.loads((runs[0].path / SPEC).read_text())["kind"] == "train"


def test_zoo_is_part_of_the_store_and_read_only(store: Store, tmp_path: Path) -> None:
    made = store.submit(counting())
    (made.path / RESULT).write_text(to_json({"ca": 0.9, "asr": 1.0, "ra": 0.0}))
    store.zoo.mkdir()
    shutil.move(made.path, store.zoo / made.id)
    files = sorted(path.name for path in (store.zoo / made.id).iterdir())
    run = store.submit(counting())
    assert (run.source, run.status) == ("zoo", "done")
    assert store.submit(counting(1)).source == "user"
    assert [run.source for run in store.runs()] == ["user", "zoo"]
    run.control("cancel")
    with pytest.raises(ValueError, match="read-only"):
        store.delete(run.id)
    assert files == sorted(path.name for path in (store.zoo / made.id).iterdir())


def test_a_recording_is_found_until_it_is_run_here(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    recorded = store.get(RECORDED.id)
    assert (recorded.source, recorded.status) == ("shipped", "done")
    assert recorded.id not in {run.id for run in store.runs()}
    measured = store.submit(
        MeasureSpec(target=f"{recorded.id}:ngf", measurement=Choice("fisher_trace"))
    )
    origin = measured.training()
    assert origin is not None and origin.id == RECORDED.parent and measured.is_ready()
    (facts,) = (found for run, found in store.look().facts.items() if run.id == measured.id)
    assert store.look().origin(facts) == origin.spec
    with pytest.raises(ValueError, match="read-only"):
        store.delete(recorded.id)
    own = submit(RECORDED, store)
    assert (own.source, own.status) == ("user", "queued") and own.path != recorded.path
    assert store.get(RECORDED.id).path == own.path
    assert own.id in {run.id for run in store.runs()}
    for run in (measured, own):
        store.delete(run.id)
    assert store.get(RECORDED.id).path == recorded.path


def test_models_of_earlier_zoos_are_found_but_not_listed(tmp_path: Path) -> None:
    """What was made of them can still be opened, and is never computed again."""
    store = Store(tmp_path / "runs")
    earlier = sorted(path.name for path in EARLIER.iterdir())
    assert len(earlier) == 65
    assert not {run.id for run in store.runs()} & set(earlier)
    model = store.get("signs-badnets-s0-e92d669fdf")
    assert model.source == "shipped" and model.status == "done"
    assert isinstance(model.spec, TrainSpec) and model.spec.revision == 1
    assert submit(model.spec, store).path == model.path
    with pytest.raises(ValueError, match="read-only"):
        store.delete(model.id)
    former = spec_from_json({"kind": "purify", "parent": model.id, "lanes": ["ngf"]})
    with pytest.raises(SpecError, match="of an earlier version"):
        submit(former, store)
    write_run(store.root, former, race_events(), done=True)
    run = submit(former, store)
    origin = run.training()
    assert run.status == "done" and origin is not None and origin.path == model.path
    look = store.look()
    (facts,) = (found for one, found in look.facts.items() if one.id == run.id)
    assert look.origin(facts) == model.spec
    again = submit(replace(former, revision=REVISION), store)  # its model can be purified anew
    assert again.id != run.id and again.status == "queued"


def test_summary_finds_the_training_behind_a_run(store: Store) -> None:
    train = store.submit(TrainSpec(attack=Choice("blend"), seed=3))
    purify = store.submit(
        PurifySpec(parent=train.id, lanes=(Choice("ngf"), Choice("sgd"))), owner="ada"
    )
    measure = store.submit(
        MeasureSpec(target=f"{purify.id}:sgd", measurement=Choice("fisher_trace"))
    )
    rates = {"ca": 0.91, "asr": 0.03, "ra": 0.8}
    (purify.path / RESULT).write_text(to_json({"before": rates, "after": rates, "lanes": {}}))
    row = purify.summary()
    assert {
        "data": "signs",
        "attack": "blend",
        "defense": "ngf, sgd",
        "status": "done",
        "owner": "ada",
    }.items() <= row.items()
    assert measure.summary()["attack"] == "blend" and measure.summary()["ca"] is None
    assert json.loads(json.dumps(row)) == row


def test_what_goes_back_to_a_weak_model_says_so(store: Store) -> None:
    train = store.submit(TrainSpec(seed=4))
    purify = store.submit(PurifySpec(parent=train.id, lanes=(Choice("ngf"),)))
    measure = store.submit(
        MeasureSpec(target=f"{purify.id}:ngf", measurement=Choice("fisher_trace"))
    )
    runs = (train, purify, measure)
    assert [run.summary()["weak"] for run in runs] == [None] * 3
    weak = {"reason": "Clean accuracy is 9%.", "missed": []}
    (train.path / RESULT).write_text(to_json({"ca": 0.09, "weak": weak}))
    assert [run.summary()["weak"] for run in runs] == ["Clean accuracy is 9%."] * 3
    (train.path / RESULT).write_text(to_json({"ca": 0.09, "weak": ["not", "ours"]}))
    assert [run.weak for run in runs] == [None] * 3


def test_unknown_runs_and_names_that_are_paths(store: Store) -> None:
    run = store.submit(counting())
    for name in ("nothing", "../runs", "", ".", f"../{store.root.name}/{run.id}", str(run.path)):
        with pytest.raises(KeyError, match=run.id):
            store.get(name)
    for data in ("../../etc", "a/b", "..", "a\0b"):
        with pytest.raises(SpecError, match="letters"):
            store.submit(TrainSpec(data=data))
    assert len(store.runs()) == 1


def test_delete_refuses_what_is_needed(store: Store) -> None:
    train = store.submit(counting())
    purify = store.submit(PurifySpec(parent=train.id, lanes=(Choice("ngf"),)))
    with pytest.raises(ValueError, match=purify.id):
        store.delete(train.id)
    store.delete(purify.id)
    store.delete(train.id)
    assert store.runs() == []
    assert [path.name for path in store.root.iterdir()] == [".wake"]


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(store: Store, caplog) -> None:
    run = store.submit(counting())
    for name, text in (("half", '{"kind": "tra'), ("later", '{"kind": "train", "colour": 1}')):
        (store.root / name).mkdir()
        (store.root / name / SPEC).write_text(text)
    assert [found.id for found in store.runs()] == [run.id]
    assert "later" in caplog.text and "half" in caplog.text


def test_owners_take_turns(store: Store) -> None:
    for owner, seeds in (("ada", (1, 2, 3)), ("bob", (4, 5)), ("eve", (6,))):
        for seed in seeds:
            store.submit(counting(seed), owner)
    assert [run.spec.seed for run in store.queue()] == [1, 4, 6, 2, 5, 3]
    waiting = [run for run in store.runs() if run.spec.seed != 1]
    assert [run.spec.seed for run in fair_order(waiting, {"ada": time.time()})] == [4, 6, 2, 5, 3]


def test_a_sweep_does_not_hold_up_what_its_owner_asks_for_singly(store: Store) -> None:
    for seed in (1, 2, 3):
        store.submit(counting(seed), "ada", "sweep-x")
    store.submit(counting(4), "bob")
    assert [run.spec.seed for run in store.ahead_of("ada")] == [4], "owners take turns"
    assert [run.spec.seed for run in store.ahead_of("bob")] == [1, 4, 2]
    store.submit(counting(5), "ada")
    assert [run.spec.seed for run in store.queue()] == [4, 5, 1, 2, 3]
    store.submit(counting(3), "bob")
    assert store.queue()[-1].spec.seed == 3, "another's stays where it is"
    assert store.submit(counting(3), "ada").request["sweep"] == ""
    assert [run.spec.seed for run in store.queue()] == [4, 5, 3, 1, 2]
    assert [run.spec.seed for run in Store(store.root, store.zoo).queue()] == [4, 5, 3, 1, 2]


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path) -> None:
    script = f"""
import errno, os, sys
from pathlib import Path
from ngf.config import TrainSpec, Training
from ngf.runs.child import execute
from ngf.runs.recorded import RACE as RECORDED
from ngf.runs.store import Store, fair_order
root = Path({str(tmp_path)!r})
store = Store(root / "runs", root / "zoo")
run = store.submit(TrainSpec(training=Training(epochs=400, batch_size=3)))
filler = open(root / "filler", "wb", buffering=0)
def fill():
    try:
        while filler.write(bytes(512)): pass
    except OSError as exc:
        assert exc.errno == errno.ENOSPC, exc
fill()
try:
    store.submit(TrainSpec(seed=1))
except OSError as exc:
    assert exc.errno == errno.ENOSPC and "disk is full" in str(exc), exc
else:
    raise AssertionError("submitted on a full disk")
assert [entry.name for entry in store.root.iterdir() if entry.is_dir()] == [run.id]
filler.truncate(max(0, filler.tell() - 40 * 1024))  # enough to begin, not enough to end
status = execute(run, {{"train": {PIPELINE!r}}})
assert (status, run.error["kind"]) == ("failed", "disk_full"), (status, run.error)
events = run.events()
assert [event["seq"] for event in events] == list(range(len(events))) and len(events) > 5
filler.truncate(0)
run = store.submit(run.spec)
assert run.status == "queued" and run.events() == events
assert execute(run, {{"train": {PIPELINE!r}}}) == "done", run.error
epochs = [event["step"] for event in run.events() if event["type"] == "epoch"]
assert epochs == list(range(1, 401))
"""
    mount = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=160k none {tmp_path} && exec "$0" "$@"',
    ]
    if (
        not shutil.which("unshare")
        or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    done = subprocess.run(
        [*mount, sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_paused_run_that_is_resumed_waits_in_its_place(store: Store) -> None:
    first, second = store.submit(counting(0)), store.submit(counting(1))
    first.control("pause")
    assert [run.id for run in store.queue()] == [second.id]
    first.control("resume")
    assert (first.status, [run.id for run in store.queue()]) == ("queued", [first.id, second.id])
    with pytest.raises(ValueError, match="pause, resume, cancel"):
        first.control("stop")


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_cancelled_run_keeps_its_curve_and_can_be_started_again(store: Store) -> None:
    run, waiting = store.submit(counting(0, steps=200)), store.submit(counting(1))
    waiting.control("cancel")
    assert waiting.status == "cancelled"
    with supervised(store):
        wait_steps(run, 20)
        with pytest.raises(ValueError, match="running"):
            store.delete(run.id)
        run.control("cancel")
        wait_status(run, "cancelled")
        kept = run.events()
        assert len(kept) > 20 and waiting.status == "cancelled" and waiting.events() == []
        assert store.submit(run.spec).id == run.id
        wait_status(run, "done")
    check_whole(run)
    assert run.events()[: len(kept)] == kept


@pytest.mark.parametrize("kind", ["crash", "diverged", "killed", "disk_full"])
def test_what_a_failed_run_has_left_is_not_deleted(store: Store, kind: str) -> None:
    run = store.submit(counting())
    for attempt in (1, 2):
        (run.path / STATE / "000000001").mkdir(parents=True)
        (run.path / STATE / "000000001" / "count.json").write_text(f"[{attempt}, 0.5]")
        (run.path / EVENTS).write_text(to_json({"seq": 0, "type": "phase", "t": 0.0}) + "\n")
        write_error(run, kind=kind, message="No.", advice="None.")
        left = {STATE: [f"[{attempt}, 0.5]"], EVENTS: run.events()}
        assert store.submit(run.spec).status == "queued" and run.error is None
        on = kind in ("killed", "disk_full")  # goes on from there
        kept = run.path if on else run.path / f"before-{attempt}"
        files = sorted((kept / STATE).glob("*/count.json"))
        assert [file.read_text() for file in files] == left[STATE]
        assert read_events(kept / EVENTS) == left[EVENTS]
        if on:
            return
        assert json.loads((kept / ERROR).read_text())["kind"] == kind
        assert not (run.path / STATE).exists() and run.events() == []


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_looking_does_not_disturb(store: Store) -> None:
    runs = [store.submit(counting(seed, steps=20)) for seed in range(3)]
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for run in runs:
                assert run.status in ("queued", "running", "done"), run.status

    with supervised(store), ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(look) for _ in range(3)]
        for run in runs:
            wait_status(run, "done")
        over.set()
        for reader in readers:
            reader.result()
    for run in runs:
        check_whole(run)
        assert run.attempts == 1
