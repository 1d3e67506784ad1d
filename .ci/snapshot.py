"""Writes requirements.snapshot.json: for every locked version, whether it was yanked, and what is
known against it, when the lock was made; null where the index could not say. `make lock` runs it,
tests/test_packaging.py reads it.

Both come through ordinary clients: pip's report of what it would install, and pip-audit.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")


def locked() -> dict[str, list[str]]:
    """The locked versions of every package, for every platform: name -> versions."""
    found: dict[str, list[str]] = {}
    for name in LOCKS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for package, version in re.findall(r"^([a-z0-9][\w.-]*)==([^\s;\\]+)", text, re.MULTILINE):
            versions = found.setdefault(package, [])
            if version not in versions:
                versions.append(version)
    return found


def run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", *words], check=True)


def yanked(pins: list[str], folder: Path) -> dict[str, bool]:
    """Whether each `name==version` was yanked, by what pip would install."""
    listed, report = folder / "pins.txt", folder / "report.json"
    listed.write_text("\n".join(pins), encoding="utf-8")
    run(
        *("pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"),
        *("--ignore-requires-python", "--report", str(report), "-r", str(listed)),
    )
    found = {}
    for item in json.loads(report.read_text(encoding="utf-8"))["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        found[f"{name}=={item['metadata']['version']}"] = item["is_yanked"]
    return found


def advisories(pins: list[str], folder: Path) -> dict[str, list[str]]:
    """What is known against each `name==version`, by the names of the advisories."""
    listed, report = folder / "pins.txt", folder / "audit.json"
    listed.write_text("\n".join(pins), encoding="utf-8")
    words = ["pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off"]
    words += ["--format", "json", "--output", str(report), "-r", str(listed)]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: something was found
        raise SystemExit(done.stderr)
    about: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    return {
        f"{item['name']}=={item['version']}": sorted(known["id"] for known in item["vulns"])
        for item in about
        if "version" in item  # else the index has no advisories to ask for
    }


def main() -> None:
    packages = locked()
    rounds = max(map(len, packages.values()))  # pip takes one version of a package at a time
    versions: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        for i in range(rounds):
            pins = [f"{name}=={found[i]}" for name, found in packages.items() if i < len(found)]
            gone, known = yanked(pins, Path(name)), advisories(pins, Path(name))
            for pin in pins:
                versions[pin] = {"yanked": gone[pin], "advisories": known.get(pin)}
    made = datetime.now(UTC).date().isoformat()
    text = json.dumps({"made": made, "versions": dict(sorted(versions.items()))}, indent=1)
    (ROOT / "requirements.snapshot.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
