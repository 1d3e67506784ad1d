"""`ngf sweep`, with real runs: killed and asked for again, nothing is computed twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ngf.__main__ import BAD_INPUT, FAILED, OK, main
from ngf.places import ROOT
from ngf.runs.folder import RESULT
from ngf.runs.store import Store
from ngf.sweeps.folder import names
from tests.helpers.cluster import machines

SMALL = {"num_images": 64, "epochs": 1, "batch_size": 64, "min_ca": 0, "min_asr": 0}
SWEEP = {
    "kind": "sweep",
    "base": {
        "kind": "purify",
        "num_clean": 20,
        "lanes": [{"name": "sgd", "steps": 2}],
        "parent": {"kind": "train", "attack": "badnets", "training": SMALL},
    },
    "axes": {"parent.seed": [0, 1, 2], "lanes.0.lr": [0.01, 0.1]},
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(SWEEP))
    return path


def ngf(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ngf", "sweep", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


class Said(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command in this process, where it executes no run."""

    def call(*words: str) -> Said:
        code = main(["sweep", *words])
        return Said(code, *capsys.readouterr())

    return call


def results(store: Store) -> dict[str, int]:
    """Run -> when its result was written."""
    return {p.parent.name: p.stat().st_mtime_ns for p in store.root.glob(f"*/{RESULT}")}


def test_killed_and_asked_for_again_it_goes_on(file: Path) -> None:
    store = Store()
    first = subprocess.Popen(
        [sys.executable, "-m", "ngf", "sweep", str(file), "--jobs", "2"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 200
    while len(results(store)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    first.kill()
    first.wait()
    while store.supervised and time.monotonic() < until:
        time.sleep(0.05)
    assert not store.supervised, "the supervisor has ended with the process that started it"
    before = results(store)
    assert 2 <= len(before) < 9
    (name,) = names(store)
    again = ngf("resume", name, "--json")
    assert again.returncode == OK, again.stderr
    found = json.loads(again.stdout)
    assert found["id"] == name and found["states"] == {"done": 9}
    assert len(found["rows"]) == 6 and all(row["ca"] is not None for row in found["rows"])
    after = results(store)
    assert len(after) == 9 and {run: after[run] for run in before} == before
    shown = ngf("show", name)
    assert shown.returncode == OK and f"{name}: 9 of 9 runs done" in shown.stdout
    assert "parent.seed=2 lanes.0.lr=0.1" in shown.stdout and "CA" in shown.stdout


def test_a_sweep_on_a_cluster(file: Path) -> None:
    sweep = json.loads(file.read_text())
    sweep["axes"] = {"lanes.0.lr": [0.01, 0.1]}
    file.write_text(json.dumps(sweep))
    with machines(n_workers=1) as found:
        done = ngf(str(file), "--executor", "dask", "--scheduler", found.address, "--json")
    assert done.returncode == OK, done.stderr
    answer = json.loads(done.stdout)
    assert answer["states"] == {"done": 3} and len(answer["rows"]) == 2
    environment = Store().get(answer["rows"][0]["run"]).finished()["environment"]
    assert environment["threads"] == 1, "those of the worker"


def test_a_dry_run_says_what_would_be_run_and_leaves_nothing(
    file: Path, here: Callable[..., Said]
) -> None:
    done = here(
        str(file), "--dry-run", "--set", "parent.attack=badnets,blend", "parent.attack.size=3"
    )
    assert done.returncode == OK
    assert "6 combinations, 9 runs (3 train, 6 purify), 0 of them done already" in done.stderr
    assert done.stderr.count("blend has no option size") == 1 and "and 5 more" in done.stderr
    assert not Store().root.exists()


def test_a_sweep_that_is_known_needs_no_file(file: Path, here: Callable[..., Said]) -> None:
    done = here("radii", "--dry-run", "--set", "seed=0..1", "lanes.0.steps=5")
    assert "30 combinations, 33 runs (3 train, 30 purify), 3 of them done already" in done.stderr
    assert "Sweeps to start from: radii, " in here("nowhere.json").stderr


def test_a_run_that_fails_is_told_and_the_rest_goes_on(file: Path) -> None:
    sweep = json.loads(file.read_text())
    sweep["axes"] = {"lanes.0.lr": [0.01], "num_clean": [20, 5000]}  # signs have fewer clean ones
    file.write_text(json.dumps(sweep))
    done = ngf(str(file), "--json")
    found = json.loads(done.stdout)
    assert done.returncode == OK and found["states"] == {"done": 2}
    assert [one["values"]["num_clean"] for one in found["refused"]] == [5000]


def test_all_of_it_is_paused_cancelled_and_asked_for_again(
    file: Path, here: Callable[..., Said]
) -> None:
    assert here(str(file), "--detach").returncode == OK
    (name,) = names(Store())
    for word, states in (("pause", {"paused": 9}), ("cancel", {"cancelled": 9})):
        done = here(word, name, "--json")
        told = json.loads(done.stdout)
        assert done.returncode == OK and told["id"] == name and told["states"] == states
    assert "9 queued" in here("resume", name, "--detach").stdout
    assert {run.request["sweep"] for run in Store().runs() if run.source == "user"} == {name}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.json",), "There is no file nowhere.json"),
        (("show", "sweep-none"), "There is no sweep 'sweep-none'"),
        (("show",), "takes one name"),
        (("a.json", "b.json"), "one file or one of"),
    ],
)
def test_what_is_asked_wrongly(
    file: Path, here: Callable[..., Said], words: tuple[str, ...], said: str
) -> None:
    done = here(*words)
    assert done.returncode in (BAD_INPUT, FAILED) and said in done.stderr


def test_a_damaged_file_and_odd_options_are_refused(file: Path, here: Callable[..., Said]) -> None:
    assert "--jobs 0 is out of range" in here(str(file), "--jobs", "0").stderr
    for words, said in (
        (("--scheduler", "tcp://here:1"), "--scheduler belongs to --executor dask"),
        (("--executor", "dask"), "takes --scheduler ADDRESS"),
        (("--executor", "dask", "--scheduler", "here", "--detach"), "takes neither"),
    ):
        assert said in here(str(file), *words).stderr
    assert "'seed' is no axis" in here(str(file), "--set", "seed").stderr
    file.write_text('{"kind": ')
    assert "is not JSON" in here(str(file)).stderr
