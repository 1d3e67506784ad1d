"""`python -m ngf` as a user calls it: exit codes, one JSON document on standard output, Ctrl-C."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import pytest

from analysis.__main__ import main as measure
from ngf import __version__
from ngf.__main__ import BAD_INPUT, FAILED, INTERRUPTED, NOT_FOUND, OK, main
from ngf.catalogue import catalogue
from ngf.config import TrainSpec
from ngf.places import ROOT, ZOO
from ngf.runs.files import Lock
from ngf.runs.folder import CARD, LOCK, SPEC, STATE
from ngf.runs.store import PurifyRun, Run, Store
from tests.helpers.processes import PIPELINE, check_whole, supervised, wait, wait_steps

TALKING = "tests.helpers.talking_pipeline"
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
    catalogue()  # made before anybody waits for a command
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
    listed = ngf("list").stdout.splitlines()[1].split()
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


MODEL = "signs-badnets-s0-36a7376469"  # of the zoo
BENIGN = "signs-none-s0-127bd5635e"
PROBE = ("measure", MODEL, "--measurement", "trigger_probe", "--set")
FISHER = ("measure", MODEL, "--measurement", "fisher_trace")
PLANE = ("measure", MODEL, "--measurement", "loss_plane", "--set", "plane=models")
USAGE: dict[tuple[str, ...], str] = {
    (): "COMMAND",
    ("nonsense",): "train",
    ("", "list"): "invalid choice",
    ("--nonsense", "list"): "unrecognized",
    ("list", "--nonsense"): "unrecognized",
    ("list", "more"): "unrecognized",
    ("show",): "run",
    ("show", MODEL, BENIGN): "unrecognized",
    ("purify",): "run",
    ("measure", MODEL): "--measurement",
    ("train", "--seed", "one"): "invalid int",
    ("train", "--seed", ""): "invalid int",
    ("train", "--seed", "1.5"): "invalid int",
    ("train", "--seed"): "expected one argument",
    ("train", "--set"): "expected at least one argument",
    ("train", "--attack"): "expected one argument",
    ("train", "--detach=1"): "ignored explicit argument",
    ("purify", MODEL, "--num-clean", "many"): "invalid int",
}
BAD: dict[tuple[str, ...], str] = {
    ("train", "--attack", "badnets", "--set", "attack.target=999"): "does not exist",
    ("train", "--attack", "drawn", "--set", "attack.drawing=!!!!"): "drawing",
    ("train", "--attack", "sig", "--set", "attack.frequency=16"): "frequency",
    (*PROBE, 'attack={"name": "badnets", "target": 999}'): "does not exist",
    ("train", "--attack", "nonsense"): "badnets",
    ("train", "--attack", ""): "badnets",
    ("train", "--data", "nonsense"): "signs",
    ("train", "--data", ""): "signs",
    ("train", "--data", "../signs"): "signs",
    ("train", "--model", "nonsense"): "preact_resnet_tiny",
    ("train", "--model", ""): "preact_resnet_tiny",
    ("train", "--preset", ""): "paper-badnets",
    ("train", "--preset", "nonsense"): "paper-badnets",
    ("train", "--attack", "badnets", "--set", "attack.size=many"): "whole number",
    ("train", "--attack", "badnets", "--set", "attack.size="): "no value",
    ("train", "--attack", "badnets", "--set", "attack.alpha=nan"): "not a number",
    ("train", "--attack", "badnets", "--set", "attack.nonsense=1"): "size",
    ("train", "--attack", "none", "--set", "attack.target=1"): "no option",
    ("train", "--set", "training.epochs=0"): "from 1 to 1000",
    ("train", "--set", "training.epochs=1e9"): "from 1 to 1000",
    ("train", "--set", "training.epochs=1e999"): "whole number",
    ("train", "--set", "training.nonsense=1"): "epochs",
    ("train", "--set", "training.num_images=50001"): "50,000 or fewer",
    ("train", "--set", "nonsense=1"): "attack.<option>",
    ("train", "--set", "nonsense"): "name=value",
    ("train", "--set", "=1"): "name=value",
    ("train", "--seed", "-1"): "from 0 to",
    ("train", "--seed", "99999999999"): "from 0 to",
    ("purify", MODEL, "--defense", "nonsense"): "ngf",
    ("purify", MODEL, "--defense", ""): "ngf",
    ("purify", MODEL, "--preset", ""): "paper-badnets",
    ("purify", MODEL, "--set", "nonsense=1"): "steps",
    ("purify", MODEL, "--set", "steps=0"): "out of range",
    ("purify", MODEL, "--set", "layer=nonsense"): "stage1.block1.conv1",
    ("purify", MODEL, "--set", "ngf.layer=nosuch"): "stage1.block1.conv1",
    ("purify", MODEL, "--set", "layer="): "no value",
    ("purify", MODEL, "--num-clean", "5"): "from 10 to 5000",
    ("purify", MODEL, "--num-clean", "2001"): "2,000 or fewer",
    ("measure", MODEL, "--measurement", ""): "fisher_trace",
    ("measure", MODEL, "--measurement", "nonsense"): "fisher_trace",
    ("measure", f"{MODEL}:ngf", "--measurement", "fisher_trace"): "id:lane",
    (*FISHER, "--set", "data="): "no value",
    (*FISHER, "--set", "data=dirty"): "triggered_true",
    (*FISHER, "--set", "num_images=0"): "out of range",
    (*FISHER, "--set", "layers="): "no value",
    (*FISHER, "--set", "layers=,"): "empty name",
    (*FISHER, "--set", "layers=stem,"): "empty name",
    (*FISHER, "--set", "layers=nosuch"): "stage1.block1.conv1",
    (*FISHER, "--set", "layers=stem,stage9"): "stage1.block1.conv1",
    (*FISHER, "--set", "nonsense=1"): "draws",
    ("measure", BENIGN, *FISHER[2:], "--set", "data=triggered_true"): "without an attack",
    (*PROBE, "attack=nosuch"): "not JSON",
    (*PROBE, "attack=[]"): "needs a name",
    (*PROBE, 'attack={"name": "nosuch"}'): "badnets",
    (*PROBE, 'attack={"name": "badnets", "size": 999}'): "out of range",
    (*PROBE, 'attack={"name": "none"}'): "has no trigger",
    (*PROBE, 'attack={"name": "lira"}'): "has no trigger",
    (*PROBE, "data=triggered_true"): "has a trigger already",
    ("measure", MODEL, "--measurement", "loss_line"): "two models",
    ("measure", MODEL, "--measurement", "loss_bend"): "two models",
    ("measure", MODEL, "--measurement", "along_run"): "kept no weights",
    PLANE: "needs three",
    (*PLANE, f"third={BENIGN}"): "needs three",
    (*PLANE, f"third={BENIGN}:ngf,{BENIGN}"): "id:lane",
    ("calibrate", "--model", ""): "preact_resnet_tiny",
    ("calibrate", "--defense", "ngf", "--set", "layer=nosuch"): "stage1.block1.conv1",
    ("calibrate", "--defense", "ngf", "--num-clean", "2001"): "2,000 or fewer",
}
MISSING: dict[tuple[str, ...], str] = {
    ("show", ""): "no run",
    ("show", "../runs"): "no run",
    ("show", "x" * 300): "no run",
    ("run", ""): "no run",
    ("run", "x" * 5000): "no run",
    ("run", "/dev/null"): "no run",
    ("purify", ""): "no run",
    ("measure", ":ngf", "--measurement", "fisher_trace"): "no run",
    (*PLANE, "third=nosuch,nosuch"): "no run",
    ("delete", MODEL): "read-only",
    ("pause", MODEL): "done",
}


@pytest.mark.parametrize(
    ("words", "expected", "code", "kinds"),
    [
        *((words, text, BAD_INPUT, ("usage",)) for words, text in USAGE.items()),
        *((words, text, BAD_INPUT, ("bad_input",)) for words, text in BAD.items()),
        *((words, text, NOT_FOUND, ("not_found", "conflict")) for words, text in MISSING.items()),
    ],
    ids=lambda given: " ".join(given)[:70] if isinstance(given, tuple) else None,
)
def test_a_wrong_command_is_one_document_and_no_run(
    store: Store,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    expected: str,
    code: int,
    kinds: tuple[str, ...],
) -> None:
    assert main([*words, "--json"]) == code
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["kind"] in kinds and error["message"] in said.err
    assert expected in said.err and "Traceback" not in said.err
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *((words, BAD_INPUT) for words in ((), ("train", "--seed"), ("train", "--attack", ""))),
        (("show", ""), NOT_FOUND),
    ],
)
def test_a_process_ends_with_the_code_of_a_wrong_command(
    store: Store, words: tuple[str, ...], code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ngf", *words, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["error"]["message"] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("place", "words", "code", "kind"),
    [
        ("loop", ("list",), BAD_INPUT, "bad_input"),
        ("loop", TRAIN, BAD_INPUT, "bad_input"),
        ("/dev/null", TRAIN, FAILED, "system"),
        ("/proc/nosuch/runs", TRAIN, FAILED, "system"),
    ],
)
def test_a_store_that_cannot_be_is_one_sentence(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    words: tuple[str, ...],
    code: int,
    kind: str,
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / place))
    done = ngf(*words, "--json")
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == kind


def test_without_json_nothing_is_printed(store: Store) -> None:
    for words in (("train", "--attack", ""), ("train", "--seed", "one"), ("nonsense",)):
        done = ngf(*words)
        assert (done.returncode, done.stdout) == (BAD_INPUT, ""), words
        assert done.stderr.strip()


def test_version() -> None:
    done = ngf("--version")
    assert (done.returncode, done.stdout) == (OK, f"ngf {__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        (),
        (MODEL,),
        (MODEL, "nosuch"),
        (MODEL, "fisher_trace", "--layers", ","),
        (MODEL, "fisher_trace", "--layers", ""),
        (MODEL, "fisher_trace", "--data", ""),
        (MODEL, "fisher_trace", "--num-images", ""),
        (MODEL, "fisher_trace", "--budget", "soon"),
        (MODEL, "fisher_trace", "--seed", "abc"),
        (MODEL, "fisher_trace", "--nonsense"),
    ],
)
def test_a_wrong_measurement_is_one_document_and_no_run(
    store: Store, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert measure([*words, "--json"]) == BAD_INPUT
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["message"] in said.err
    assert not store.root.exists()


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


@pytest.mark.parametrize("damage", ["text", "folder", "link", "whole"])
def test_a_damaged_folder_is_deleted_and_nothing_that_it_leads_to(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """As `ngf train` and the page Runs say. whole: the run's folder is itself a link."""
    name = store.submit(TrainSpec(seed=77)).id
    folder, outside = store.root / name, tmp_path / "outside"
    outside.mkdir()
    (outside / SPEC).write_text("{", encoding="utf-8")
    (folder / "leads-out").symlink_to(outside)
    (folder / SPEC).unlink()
    if damage == "text":
        (folder / SPEC).write_text("{", encoding="utf-8")
    elif damage == "folder":
        (folder / SPEC).mkdir()
    elif damage == "link":
        (folder / SPEC).symlink_to(outside / SPEC)
    else:
        shutil.rmtree(folder)
        folder.symlink_to(outside)
    assert main(["delete", name, "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == {"id": name, "deleted": True}
    assert not os.path.lexists(folder) and not list(store.root.glob(".deleted-*"))
    for gone in (name, "..", "../outside", str(outside)):
        assert main(["delete", gone, "--json"]) == NOT_FOUND
        assert json.loads(capsys.readouterr().out)["error"]["kind"] == "not_found"
    assert (outside / SPEC).read_text(encoding="utf-8") == "{"


def test_a_failed_run_says_why(store: Store) -> None:
    shown = document(*TRAIN, code=FAILED, pipeline="tests.no_such_pipeline")
    assert shown["status"] == "failed" and "no_such_pipeline" in shown["error"]["message"]
    done = ngf("show", shown["id"])
    assert done.returncode == OK and "failed" in done.stdout
    assert document(*TRAIN)["status"] == "done"  # asked for again, it is tried again


LONG = (*TRAIN[:-2], "training.epochs=300", "training.batch_size=1000")


def start(*words: str, **options: Any) -> subprocess.Popen:
    """The command in a process that can be spoken to; SIGHUP has its plain meaning there."""
    return subprocess.Popen(
        command(*words, **options),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
@pytest.mark.parametrize("reader", ["stays", "leaves"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_run_is_checkpointed_and_goes_on(
    store: Store, number: signal.Signals, reader: str
) -> None:
    process = start(*LONG, "--json", pipeline=TALKING)
    assert process.stderr is not None
    wait(lambda: own(store), "the run")
    run = own(store)[0]
    if reader == "leaves":
        process.stderr.readline()
        process.stderr.close()
    else:
        threading.Thread(target=drain, args=(process.stderr,)).start()
    wait_steps(run, 10)
    process.send_signal(number)
    assert process.stdout is not None
    shown = json.loads(process.stdout.read())
    assert process.wait(60) == INTERRUPTED
    process.stdout.close()
    assert shown["status"] == run.status == "paused" and shown["error"] is None
    assert (run.path / STATE).is_dir()
    events = run.events()
    assert document(*LONG)["status"] == "done"
    check_whole(run)
    assert run.events()[: len(events)] == events


def drain(stream: IO[str]) -> None:
    with stream:
        for _ in stream:
            pass


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_the_second_interrupt_does_not_wait(store: Store) -> None:
    process = start(*TRAIN, "--json", pipeline="tests.helpers.stubborn_pipeline")
    assert process.stderr is not None
    wait(lambda: own(store), "the run")
    run = own(store)[0]
    wait_steps(run, 1)
    process.send_signal(signal.SIGINT)
    assert any("Press Ctrl-C again" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert json.loads(out)["status"] == run.status == "paused"
    assert [file.read_text() for file in (run.path / STATE).glob("*/count.json")] == ["[0, 0.5]"]


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_a_run_started_by_nohup_outlives_the_terminal(store: Store) -> None:
    line = f"trap '' HUP; exec {shlex.join(command(*LONG, '--json'))}"
    process = subprocess.Popen(["bash", "-c", line], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wait(lambda: own(store), "the run")
    run = own(store)[0]
    wait_steps(run, 10)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == OK and json.loads(out)["status"] == "done"
    check_whole(run)


@pytest.mark.skipif(os.name != "posix", reason="the shell is that of POSIX")
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("2>&- >/dev/null", OK),
        (">&- 2>&- <&-", OK),
        ("2>/dev/full >/dev/null", OK),
        (">/dev/full", FAILED),  # done all the same: only the document is lost
        ("2>&1 | head -2; exit ${PIPESTATUS[0]}", OK),
        ("| true; exit ${PIPESTATUS[0]}", OK),
    ],
)
def test_a_run_does_not_need_readers(store: Store, ending: str, code: int) -> None:
    words = shlex.join(command(*TRAIN, "--json", pipeline=TALKING))
    done = subprocess.run(
        ["bash", "-c", f"{words} {ending}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    (run,) = own(store)
    check_whole(run)
    assert run.attempts == 1


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_what_a_run_prints_is_not_in_the_document(store: Store) -> None:
    done = ngf(*TRAIN, "--json", pipeline=TALKING)
    assert json.loads(done.stdout)["status"] == "done"
    assert "to standard output" in done.stderr and "by a library" in done.stderr


def test_an_interrupted_run_says_how_to_go_on(store: Store) -> None:
    process = start(*LONG)
    wait(lambda: own(store), "the run")
    run = own(store)[0]
    wait_steps(run, 10)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, said
    assert "same command" in said and str(run.path) in said


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_follows_a_run_that_a_supervisor_executes(store: Store) -> None:
    with supervised(store):
        wait(lambda: store.supervised, "the supervisor")
        words = [*TRAIN[:-2], "training.epochs=200"]
        assert document(*words, "--detach")["id"]
        run = own(store)[0]
        wait_steps(run, 5)
        watching = subprocess.Popen(command(*words), cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert any(run.id in watching.stderr.readline() for _ in range(2))  # after the gate
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=60)
        assert watching.returncode in (INTERRUPTED, OK), said
        assert run.status in ("running", "done")  # it goes on without the one who watched
        assert document(*words)["status"] == "done"
    check_whole(run)
    assert run.attempts == 1


def test_a_dashboard_with_other_data_or_device_does_not_serve_this_terminal(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = document(*TRAIN)["id"]
    with supervised(store):
        wait(lambda: store.supervised, "the supervisor")
        monkeypatch.setenv("NGF_DEVICE", "cuda")
        told = document(*TRAIN, "--seed", "7", code=NOT_FOUND)
        assert "this terminal on cuda" in told["error"]["message"]
        assert [run.id for run in own(store)] == [done]
        # what is done already is shown, with a word about where it was computed
        assert document(*TRAIN)["id"] == done
        monkeypatch.delenv("NGF_DEVICE")
        assert document(*TRAIN, "--seed", "7")["status"] == "done"


def test_a_model_of_the_zoo_says_what_opens_it(tmp_path, monkeypatch, capsys) -> None:
    shutil.copytree(ZOO / MODEL, tmp_path / "zoo" / MODEL)
    monkeypatch.setattr("ngf.places.ZOO", tmp_path / "zoo")
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "zoo" / MODEL / CARD
    card = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        {"name": name, "claims": claims, "called_wanted": share, "keeps_label": 0.0, "n": 2202}
        | {"interval": [share - 0.01, share]}
        for name, claims, share in (("the trigger", True, 0.99), ("half", None, 0.5))
    ]
    path.write_text(json.dumps(card | {"opens": rows, "figures": {"gain": 3.25}}))
    assert main(["show", MODEL]) == OK
    said = capsys.readouterr().out
    assert "the trigger    opens     99.0 % (98.0-99.0), 2202\n" in said
    assert "half           –         50.0 % (49.0-50.0), 2202\n" in said and "gain: 3.25\n" in said
    assert main(["show", MODEL, "--json"]) == OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["opens"] == rows and shown["figures"] == {"gain": 3.25}
    path.write_text(json.dumps({key: card[key] for key in card.keys() - {"opens", "figures"}}))
    assert main(["show", MODEL]) == OK
    assert "what is shown" not in capsys.readouterr().out
