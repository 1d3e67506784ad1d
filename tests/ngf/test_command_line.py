"""`python -m ngf` as a user calls it: exit codes, one JSON document on standard output, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ngf.__main__ import BAD_INPUT, FAILED, INTERRUPTED, NOT_FOUND, OK
from ngf.places import ROOT
from ngf.runs.files import Lock
from ngf.runs.folder import LOCK, STATE
from ngf.runs.store import PurifyRun, Run, Store
from tests.helpers.processes import PIPELINE, check_whole, supervised, wait, wait_steps

TRAIN = (
    "train",
    "--attack",
    "badnets",
    "--seed",
    "3",
    "--set",
    "training.epochs=30",
    "training.batch_size=4",
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of users' runs, beside the zoo of the project."""
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    return Store()


def command(*words: str, pipeline: str = PIPELINE) -> list[str]:
    """The command line with a pipeline that only counts."""
    code = (
        f"import sys; from ngf.__main__ import main; kinds = ('train', 'purify', 'measure'); "
        f"sys.exit(main(sys.argv[1:], dict.fromkeys(kinds, {pipeline!r})))"
    )
    return [sys.executable, "-W", "error", "-c", code, *words]


def ngf(*words: str, **options: Any) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*words, **options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def document(*words: str, code: int = OK, **options: Any) -> Any:
    """The one JSON document that the command prints."""
    done = ngf(*words, "--json", **options)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def own(store: Store) -> list[Run]:
    """The runs of this test, without the zoo's."""
    return [run for run in store.runs() if run.source == "user"]


def test_help_and_list_import_no_torch(store: Store) -> None:
    for words in (["--help"], ["train", "--help"], ["list"], ["show", "nothing"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "ngf", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        imported = {
            line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line
        }
        assert "ngf.runs.store" in imported
        assert not {"torch", "numpy", "pandas", "streamlit"} & imported, words


def test_train_shows_progress_and_one_document(store: Store) -> None:
    done = ngf(*TRAIN, "--json")
    assert done.returncode == OK, done.stderr
    shown = json.loads(done.stdout)
    run = store.get(shown["id"])
    check_whole(run)
    assert "epoch 30/30" in done.stderr and "CA" in done.stderr
    expected = {
        "status": "done",
        "kind": "train",
        "data": "signs",
        "attack": "badnets",
        "seed": 3,
        "error": None,
    }
    assert expected.items() <= shown.items()
    assert (
        shown["ca"] == run.result["ca"]
        and shown["n_clean"] == 100
        and shown["ca_interval"] == [0.0, 1.0]
    )
    again = document(*TRAIN)
    assert again == shown and run.attempts == 1  # at once: it is not executed again
    assert document("show", run.id)["spec"] == run.spec.to_json()
    assert document("run", str(run.path)) == shown
    listed = document("list")
    assert listed[0]["id"] == run.id and {"ca", "asr", "ra", "source", "submitted_at"} <= set(
        listed[0]
    )


def test_a_weak_model_ends_well_and_standard_error_says_so(store: Store) -> None:
    """A real training of one step, in a process of its own."""
    small = ["--set", "training.num_images=64", "training.epochs=1", "training.batch_size=64"]
    words = ["-m", "ngf", "train", "--attack", "badnets", *small, "--json"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == OK, done.stderr
    (run,) = own(store)
    assert run.status == "done" and json.loads(done.stdout)["weak"] == run.weak
    gate = "A model below 80% clean accuracy or 60% attack success is kept and called weak."
    assert done.stderr.splitlines()[:2] == [run.id, gate], "told before the start"
    assert f"{run.id} is weak. Clean accuracy is " in done.stderr.splitlines()[-1]
    listed = ngf("list").stdout.splitlines()[0].split()
    assert listed[:3] == [run.id, "done,", "weak"]
    assert f"weak           {run.weak}" in ngf("show", run.id).stdout


def test_a_trigger_that_cannot_be_seen_is_bad_input_and_no_run(store: Store) -> None:
    done = ngf("train", "--attack", "sig", "--set", "attack.frequency=16", "--detach")
    assert done.returncode == BAD_INPUT and "zero in every one of 32 columns" in done.stderr
    assert not store.root.exists()


def test_equal_requests_have_equal_names(store: Store) -> None:
    names = {
        document("train", "--attack", "badnets", "--detach", "--set", *settings)["id"]
        for settings in (
            ["training.epochs=7"],
            ["training.epochs=7.0", "training.lr=0.1"],
            ["training.epochs=7", "training.momentum=9e-1"],
        )
    }
    assert len(names) == 1 and store.get(names.pop()).status == "queued"


def test_purify_ends_with_before_and_after(store: Store) -> None:
    parent = document(*TRAIN)["id"]
    shown = document(
        "purify", parent, "--defense", "ngf", "--set", "steps=30", "--num-clean", "300"
    )
    assert shown["status"] == "done" and shown["parent"] == parent and "lanes" in shown
    for side in ("before", "after"):
        assert {
            "ca",
            "asr",
            "ra",
            "n_clean",
            "n_triggered",
            "ca_interval",
            "asr_interval",
            "ra_interval",
        } <= set(shown[side])
    assert shown["spec"]["num_clean"] == 300
    with_default = document("list")[0]
    assert with_default["defense"] == "ngf" and with_default["attack"] == "badnets"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "--attack", "nonsense"), "badnets"),
        (("train", "--data", "nonsense"), "signs"),
        (("train", "--model", "nonsense"), "preact_resnet_tiny"),
        (("train", "--attack", "badnets", "--set", "attack.size=many"), "whole number"),
        (("train", "--attack", "badnets", "--set", "attack.nonsense=1"), "size"),
        (("train", "--set", "training.epochs=0"), "from 1 to 1000"),
        (("train", "--set", "training.nonsense=1"), "epochs"),
        (("train", "--set", "nonsense=1"), "attack.<option>"),
        (("train", "--set", "nonsense"), "name=value"),
        (("train", "--seed", "-1"), "from 0 to"),
        (("train", "--seed", "one"), "invalid int"),
        (("nonsense",), "train"),
    ],
)
def test_bad_input_names_what_is_allowed(
    store: Store, words: tuple[str, ...], expected: str
) -> None:
    done = ngf(*words)
    assert (
        done.returncode == BAD_INPUT and expected in done.stderr and "Traceback" not in done.stderr
    )
    assert done.stdout == "" and not store.root.exists()


def test_bad_input_for_a_purification(store: Store) -> None:
    parent = document(*TRAIN)["id"]
    for words, expected in (
        (["--defense", "nonsense"], "ngf"),
        (["--set", "nonsense=1"], "steps"),
        (["--set", "layer=nonsense"], "stage1.block1.conv1"),
        (["--num-clean", "5"], "from 10 to 5000"),
    ):
        done = ngf("purify", parent, *words)
        assert done.returncode == BAD_INPUT and expected in done.stderr, done.stderr


def test_not_found_and_conflicts(store: Store) -> None:
    for words in (["show", "x"], ["delete", "x"], ["purify", "x"], ["run", "x"], ["pause", "x"]):
        shown = document(*words, code=NOT_FOUND)
        assert shown["error"]["kind"] == "not_found" and "no run 'x'" in shown["error"]["message"]
    queued = document(*TRAIN, "--detach")["id"]
    shown = document("purify", queued, code=NOT_FOUND)
    assert shown["error"]["kind"] == "conflict" and "is queued" in shown["error"]["message"]
    run = store.get(queued)
    lock = Lock(run.path / LOCK)
    assert lock.acquire()
    assert document("delete", queued, code=NOT_FOUND)["error"]["kind"] == "conflict"
    assert document("run", queued, code=NOT_FOUND)["error"]["kind"] == "conflict"
    lock.release()
    for waiting in own(store):
        if isinstance(waiting, PurifyRun):
            store.delete(waiting.id)
    assert document("delete", queued) == {"id": queued, "deleted": True}
    assert store.find(queued) is None


def test_a_failed_run_says_why(store: Store) -> None:
    shown = document(*TRAIN, code=FAILED, pipeline="tests.no_such_pipeline")
    assert shown["status"] == "failed" and "no_such_pipeline" in shown["error"]["message"]
    done = ngf("show", shown["id"])
    assert done.returncode == OK and "failed" in done.stdout
    assert document(*TRAIN)["status"] == "done"  # asked for again, it is tried again


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_interrupted_run_is_checkpointed_and_goes_on(store: Store) -> None:
    words = [*TRAIN[:-2], "training.epochs=300", "training.batch_size=1000"]
    process = subprocess.Popen(
        command(*words), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wait(lambda: own(store), "the run")
    run = own(store)[0]
    wait_steps(run, 10)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, said
    assert run.status == "paused" and "same command" in said and str(run.path) in said
    assert (run.path / STATE).is_dir()
    assert document(*words)["status"] == "done"
    check_whole(run)


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_follows_a_run_that_a_supervisor_executes(store: Store) -> None:
    with supervised(store):
        wait(lambda: store.supervised, "the supervisor")
        words = [*TRAIN[:-2], "training.epochs=200"]
        assert document(*words, "--detach")["id"]
        run = own(store)[0]
        wait_steps(run, 5)
        watching = subprocess.Popen(command(*words), cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert run.id in watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=60)
        assert watching.returncode in (INTERRUPTED, OK), said
        assert run.status in ("running", "done")  # it goes on without the one who watched
        assert document(*words)["status"] == "done"
    check_whole(run)
    assert run.attempts == 1
