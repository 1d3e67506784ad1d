"""Runs as folders under real processes: real kills, real signals, real files."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.child import ROLE
from ngf.runs.files import Lock, to_json, write_atomic
from ngf.runs.folder import ATTEMPTS, CONTROL, EVENTS, LOCK, LOG, RESULT, SPEC, STATE
from ngf.runs.recorder import Paused, Recorder
from ngf.runs.store import Store, fair_order
from ngf.runs.supervisor import ALREADY_RUNNING, MAX_KILLS, Supervisor
from tests.helpers.processes import (
    PIPELINE,
    check_whole,
    counting,
    kill_child,
    start_supervisor,
    supervised,
    wait,
    wait_status,
    wait_steps,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and signals are those of POSIX")


# ---- the store


def test_names_of_runs_stay() -> None:
    assert TrainSpec().id == "signs-none-s0-1c8392ad8a"
    raced = PurifySpec(
        parent="signs-none-s0-1c8392ad8a", lanes=(Choice("ngf"), Choice("sgd", {"steps": 7}))
    )
    assert raced.id == "ngf-vs-sgd-3ba8b8002d"


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


def test_summary_finds_the_training_behind_a_run(store: Store) -> None:
    train = store.submit(TrainSpec(attack=Choice("blend"), seed=3))
    purify = store.submit(
        PurifySpec(parent=train.id, lanes=(Choice("ngf"), Choice("sgd"))), owner="ada"
    )
    measure = store.submit(
        MeasureSpec(target=f"{purify.id}:sgd", measurement=Choice("fisher_trace"))
    )
    rates = {"ca": 0.91, "asr": 0.03, "ra": 0.8}
    (purify.path / RESULT).write_text(to_json({"before": {"ca": 1.0}, "after": rates}))
    row = purify.summary()
    assert {
        "data": "signs",
        "attack": "blend",
        "defense": "ngf, sgd",
        "status": "done",
        "owner": "ada",
    }.items() <= row.items()
    assert {name: row[name] for name in rates} == rates
    assert measure.summary()["attack"] == "blend" and measure.summary()["ca"] is None
    assert json.loads(json.dumps(row)) == row


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


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path) -> None:
    script = f"""
import errno, os, sys
from pathlib import Path
from ngf.config import TrainSpec, Training
from ngf.runs.child import execute
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


# ---- the recorder


def test_recorder_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    first.emit("phase", phase="training")
    for step in (0, 1, 2):
        first.emit("step", lane="ngf", step=step, loss=float("nan") if step else 0.5)
    first.emit("step", lane="sgd", step=0)
    with open(tmp_path / EVENTS, "ab") as file:
        file.write(b'{"seq":5,"type":"step","lane":"sgd","st')
    second = Recorder(tmp_path)
    assert (second.next_seq, second.last_step("ngf"), second.last_step("sgd")) == (5, 2, 0)
    assert second.last_step("adam") == -1
    for step in (1, 2, 3):
        second.emit("step", lane="ngf", step=step, loss=1.0)
    lines = (tmp_path / EVENTS).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(6))
    assert events[-1]["step"] == 3 and events[2]["loss"] is None
    assert all(a["t"] <= b["t"] for a, b in pairwise(events))


def test_readers_see_complete_lines_only(store: Store) -> None:
    run = store.submit(counting())
    log = run.path / EVENTS
    log.write_bytes(b'{"seq":0,"type":"phase","t":0}\n{"seq":1,"ty')
    assert [event["seq"] for event in run.events()] == [0]
    with open(log, "ab") as file:
        file.write(b'pe":"phase","t":1}\n')
    assert [event["seq"] for event in run.events(1)] == [1]
    log.unlink()
    assert run.events() == []
    log.write_bytes(b'{"seq":0,"type":"other","t":0}\n' * 1)
    assert run.events() == [{"seq": 0, "type": "other", "t": 0}]


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path, over, seen = tmp_path / RESULT, threading.Event(), []

    def read() -> None:
        while not over.is_set():
            if path.exists():
                seen.append(len(json.loads(path.read_text())["values"]))

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for size in range(60):
            write_atomic(path, to_json({"values": [0.1] * (100 * size)}))
        over.set()
        for reader in readers:
            reader.result()
    assert seen and list(tmp_path.iterdir()) == [path]


def test_checkpoint_is_complete_or_the_one_before(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.state() is None
    recorder.save_state(lambda folder: (folder / "a").write_text("1") and None)

    def fails(folder: Path) -> None:
        (folder / "a").write_text("2")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="middle"):
        recorder.save_state(fails)
    (tmp_path / ".state-000000002.tmp").mkdir()  # what a kill leaves
    again = Recorder(tmp_path)
    assert (again.state() / "a").read_text() == "1"
    again.save_state(lambda folder: (folder / "a").write_text("3") and None)
    assert (again.state() / "a").read_text() == "3"
    assert [path.name for path in (tmp_path / STATE).iterdir()] == ["000000002"]
    (tmp_path / CONTROL).write_text("pause")
    with pytest.raises(Paused):
        again.check(lambda folder: (folder / "a").write_text("4") and None)
    assert (again.state() / "a").read_text() == "4"
    again.finish({"ca": float("inf")})
    assert json.loads((tmp_path / RESULT).read_text()) == {"ca": None} and again.state() is None


# ---- processes


@pytest.mark.parametrize("seed", range(4))
def test_kill_minus_nine_of_the_child(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    run = store.submit(counting(seed))
    with supervised(store):
        kills = 0
        for at in sorted(rng.sample(range(10, 90, 10), 3)):
            wait_steps(run, at)
            time.sleep(rng.random() * 0.02)
            kills += kill_child(run)
        wait_status(run, "done", "failed")
    check_whole(run)
    assert kills and 1 < run.attempts <= kills + 1
    assert 1 <= sum(event["type"] == "resumed" for event in run.events()) <= kills


@pytest.mark.parametrize("seed", range(3))
def test_kill_minus_nine_of_the_supervisor(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    run, behind = (
        store.submit(counting(seed, steps=150)),
        store.submit(counting(seed + 100, steps=10)),
    )
    first = start_supervisor(store)
    wait_steps(run, rng.randrange(1, 60))
    first.kill()
    first.communicate()
    with_child = seed != 0 and kill_child(run)
    if with_child:
        wait_status(run, "lost", "done")
    else:
        assert run.status in ("running", "done")  # it goes on without its supervisor
    with supervised(store):
        wait(lambda: store.supervised, "the next supervisor")
        wait_status(behind, "running", "done")
        assert run.status == "done"  # a run without its supervisor still fills the slot
        wait_status(behind, "done")
    check_whole(run)
    check_whole(behind)
    assert run.attempts <= (2 if with_child else 1)


def test_pause_frees_the_slot_and_resume_goes_on(store: Store) -> None:
    run = store.submit(counting(0, steps=200, every=50))
    with supervised(store):
        wait_steps(run, 20)
        run.control("pause")
        wait_status(run, "paused")
        at = len(run.events())
        other = store.submit(counting(1, steps=5))
        wait_status(other, "done")
        assert run.status == "paused" and len(run.events()) == at and run.result is None
        run.control("resume")
        wait_status(run, "done")
    check_whole(run)
    resumed = [event for event in run.events() if event["type"] == "resumed"]
    assert len(resumed) == 1 and resumed[0]["step"] >= 20 and run.attempts == 2


def test_a_paused_run_that_is_resumed_waits_in_its_place(store: Store) -> None:
    first, second = store.submit(counting(0)), store.submit(counting(1))
    first.control("pause")
    assert [run.id for run in store.queue()] == [second.id]
    first.control("resume")
    assert (first.status, [run.id for run in store.queue()]) == ("queued", [first.id, second.id])
    with pytest.raises(ValueError, match="pause, resume, cancel"):
        first.control("stop")


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


def test_started_again_while_it_is_still_stopping(store: Store) -> None:
    run = store.submit(counting(0, steps=200, every=1000))
    with supervised(store):
        for at in (10, 40, 70):
            wait_steps(run, at)
            run.control("cancel")
            time.sleep(random.Random(at).random() * 0.05)
            store.submit(run.spec)
        wait_status(run, "done")
    check_whole(run)


def test_a_second_supervisor_is_refused(store: Store) -> None:
    with supervised(store):
        wait(lambda: store.supervised, "the supervisor")
        second = subprocess.run(
            [sys.executable, "-m", "ngf.runs.supervisor", "--root", str(store.root)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == ALREADY_RUNNING and "already" in second.stderr
    assert not store.supervised


def test_killed_three_times_without_progress_has_failed(store: Store) -> None:
    run, behind = store.submit(counting(data="suicide")), store.submit(counting(1, steps=5))
    with supervised(store):
        wait_status(run, "failed")
        wait_status(behind, "done")
    error = run.error
    assert (error["kind"], run.attempts) == ("killed", MAX_KILLS)
    assert "3 times" in error["message"] and "memory" in error["advice"]
    assert "about to be killed" in error["log"]
    again = store.submit(run.spec)
    assert again.status == "queued" and again.error is None


@pytest.mark.parametrize(
    ("data", "kind", "message", "advice"),
    [
        ("diverges", "diverged", "not a number", "smaller learning rate"),
        ("bad", "bad_input", "size = 99 is out of range.", "Change the setting"),
        ("breaks", "crash", "ZeroDivisionError: division by zero", "log.txt"),
        ("hungry", "out_of_memory", "Out of memory", "smaller batch size"),
        ("full", "disk_full", "disk is full", "Free some space"),
    ],
)
def test_errors_in_the_users_words(
    store: Store, data: str, kind: str, message: str, advice: str
) -> None:
    run = store.submit(counting(data=data))
    child = subprocess.Popen(
        [sys.executable, "-m", "ngf.runs.child", "--pipeline", PIPELINE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    child.communicate(f"{run.path}\n")
    assert (child.returncode, run.status, run.error["kind"]) == (1, "failed", kind)
    assert (
        message in run.error["message"]
        and advice in run.error["advice"]
        and run.error["step"] is None
    )
    assert "Traceback" in (run.path / LOG).read_text()


def test_a_warm_child_ends_with_its_supervisor(store: Store) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "ngf.runs.child", "--pipeline", PIPELINE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    child.communicate("")
    assert child.returncode == 0


def test_terminated_supervisor_leaves_a_checkpoint_behind(store: Store) -> None:
    run = store.submit(counting(0, steps=200, every=1000))
    with supervised(store) as first:
        wait_steps(run, 20)
        first.terminate()
        first.communicate(timeout=30)
    assert first.returncode == 0 and run.status == "lost" and (run.path / STATE).is_dir()
    with supervised(store):
        wait_status(run, "done")
    check_whole(run)
    assert run.attempts == 2


def test_supervisor_also_ends_the_children_of_one_that_was_killed(store: Store) -> None:
    run = store.submit(counting(0, steps=1000))
    first = start_supervisor(store)
    wait_steps(run, 3)
    first.kill()
    first.communicate()
    with supervised(store):
        wait(lambda: store.supervised, "the next supervisor")
        assert run.status == "running"
    assert run.status == "lost" and Lock.holder(run.path / LOCK, ROLE) is None


def test_a_run_waits_for_the_one_it_starts_from_and_owners_take_turns(store: Store) -> None:
    train = store.submit(counting(0, steps=60), "ada")
    purify = store.submit(PurifySpec(parent=train.id, lanes=(Choice("ngf"),)), "bob")
    more = [store.submit(counting(seed, steps=3), "ada") for seed in (1, 2)]
    measure = store.submit(MeasureSpec(target=train.id, measurement=Choice("fisher_trace")), "eve")
    with supervised(store, "--heavy", "1", "--light", "1"):
        for run in (train, purify, measure, *more):
            wait_status(run, "done")
    started = {
        run.id: (run.path / ATTEMPTS).stat().st_mtime_ns for run in (train, purify, measure, *more)
    }
    finished = (train.path / RESULT).stat().st_mtime_ns
    assert started[purify.id] > finished and started[measure.id] > finished
    assert started[train.id] < started[purify.id] < started[more[0].id] < started[more[1].id]
    assert all(run.attempts == 1 for run in store.runs())


def test_a_quick_measurement_is_followed_by_the_next_in_the_same_process(store: Store) -> None:
    train = store.submit(counting(steps=5))
    specs = [
        MeasureSpec(target=train.id, measurement=Choice("fisher_trace"), seed=seed)
        for seed in range(3)
    ]
    with supervised(store, "--heavy", "1", "--light", "1") as supervisor:
        wait_status(train, "done")
        pids = []
        for spec in specs:  # one after the other, as somebody asks who waits for each
            run = store.submit(spec)
            wait_status(run, "done")
            pids.append(json.loads((run.path / LOCK).read_text())["pid"])
            assert run.attempts == 1
        assert len(set(pids)) == 1, "torch is imported once for all three"
        assert json.loads((train.path / LOCK).read_text())["pid"] not in pids
        os.kill(pids[0], signal.SIGKILL)  # while it waits: the next one gets a child of its own
        run = store.submit(MeasureSpec(target=train.id, measurement=Choice("fisher_trace"), seed=9))
        wait_status(run, "done")
        assert run.attempts == 1
        assert json.loads((run.path / LOCK).read_text())["pid"] != pids[0]
        supervisor.terminate()
        supervisor.communicate(timeout=30)
        pid = json.loads((run.path / LOCK).read_text())["pid"]
        wait(
            lambda: not Path(f"/proc/{pid}").exists(), "the waiting child ends with its supervisor"
        )


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


def test_child_that_cannot_start_is_an_error_of_the_run(store: Store) -> None:
    run = store.submit(counting())
    supervisor = Supervisor(store)
    for code in (-11, -11, -11):
        assert run.status == "queued"
        supervisor._count_refusal(run, code)
    assert run.status == "failed" and "could not start (-11)" in run.error["message"]
