"""`pip install .` gives two commands that work in any folder, and all pins agree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ngf
from ngf.places import ROOT
from tests.helpers.run_folders import free_port

LOCKS = ("requirements", "requirements-dev")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment into which the wheel was installed, and nothing else of ours.

    What the project depends on is lent by the environment of the tests: it takes gigabytes.
    """
    folder = tmp_path_factory.mktemp("installed")
    here = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*here, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, str(ROOT)],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*here, "--python", str(python), "install", "--no-deps", wheel], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return folder / "venv" / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user in a folder of their own, who knows nothing of the checkout."""
    names = {"PYTHONPATH", "NGF_RUNS", "NGF_DATA"}
    yield {name: value for name, value in os.environ.items() if name not in names} | {
        "NGF_CACHE": str(tmp_path / "cache")
    }


def test_the_commands_work_from_any_folder(
    installed: Path, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    def run(*words: str) -> str:
        return subprocess.run(
            [installed / "ngf", *words],
            cwd=tmp_path,
            env=elsewhere,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    rows = json.loads(run("list", "--json"))
    assert {row["attack"] for row in rows} >= {"none", "badnets", "wanet"}, "the zoo comes with it"
    assert "usage: ngf " in run("--help")
    model = next(row["id"] for row in rows if row["attack"] == "badnets")
    done = json.loads(run("purify", model, "--set", "steps=1", "--num-clean", "20", "--json"))
    assert done["status"] == "done" and Path(done["path"]).parent == tmp_path / "runs"


def test_the_dashboard_starts_from_any_folder(
    installed: Path, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    command = [installed / "ngf-dashboard", "--headless", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env=elsewhere) as process:
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    url = f"http://127.0.0.1:{port}/api/runs"
                    with urllib.request.urlopen(url, timeout=60) as answer:
                        assert len(json.load(answer)) >= 65
                        break
                except urllib.error.URLError:
                    assert process.poll() is None and time.monotonic() < until
                    time.sleep(0.1)
        finally:
            process.terminate()
    assert process.returncode == 0


def test_the_version_is_in_one_place() -> None:
    assert "version" not in PROJECT and PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", ngf.__version__)


def pins(name: str) -> dict[str, str]:
    """What a file of requirements pins: name -> version."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z][a-z0-9-]*)==(\S+)", text, re.MULTILINE))


def test_what_is_pinned_is_what_is_needed() -> None:
    needed = {item.name: item for item in map(Requirement, PROJECT["dependencies"])}
    pinned = pins("requirements.txt")
    assert pinned.keys() == needed.keys()
    for name, version in pinned.items():
        assert needed[name].specifier.contains(version), f"{needed[name]}, but {version} is tested"


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_holds_every_pin_with_hashes(name: str) -> None:
    """When it does not: `make lock`."""
    locked = (ROOT / f"{name}.lock").read_text(encoding="utf-8")
    versions = pins(f"{name}.lock")
    for pinned in (pins("requirements.txt"), pins(f"{name}.txt")):
        assert pinned.items() <= versions.items()
    entries = re.split(r"^(?=[a-z])", locked, flags=re.MULTILINE)[1:]
    assert len(entries) >= len(versions) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


# Advisories that do not concern us, each with the reason; everything else is a reason to update.
ACCEPTED: dict[str, str] = {}


def test_no_locked_version_was_yanked_or_is_known_to_be_unsafe() -> None:
    """As of the day of the lock, without a network. When it fails: update, then `make lock`."""
    snapshot = json.loads((ROOT / "requirements.snapshot.json").read_text(encoding="utf-8"))
    text = "".join((ROOT / f"{name}.lock").read_text("utf-8") for name in LOCKS)
    locked = set(re.findall(r"^[a-z0-9][\w.-]*==[^\s;\\]+", text, re.MULTILINE))
    assert len(locked) > 50 and snapshot["versions"].keys() == locked
    about = snapshot["versions"].items()
    assert not [name for name, known in about if known["yanked"] is not False]
    unsafe = {name: set(known["advisories"] or ()) - ACCEPTED.keys() for name, known in about}
    assert not {name: known for name, known in unsafe.items() if known}
