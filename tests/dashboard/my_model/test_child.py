"""Imports in a process of their own: what it answers, and that no file of a visitor stays."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard.my_model import child
from dashboard.my_model.child import Given, import_model

# Stands for Python: answers with its words, and with what lies in the folder of the import.
ECHO = """
import json, sys
from pathlib import Path
words = sys.argv[1:]
root = Path(words[3]).parent.parent
print("one line", file=sys.stderr)
print("another", file=sys.stderr)
files = {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}
print(json.dumps({"words": words, "root": str(root), "mode": root.stat().st_mode, "files": files}))
"""
MODEL = Given("model.pt", b"weights")


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has another program answer in place of Python."""
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    python = sys.executable

    def by(program: str) -> None:
        path = tmp_path / "program"
        path.write_text(f"#!{python}\n{program}", encoding="utf-8")
        path.chmod(0o700)
        monkeypatch.setattr(child.sys, "executable", str(path))

    return by


def bring(*images: Given, weights: Given = MODEL, say: Any = lambda line: None) -> dict[str, Any]:
    try:
        return import_model(weights, images, ["--size", "32"], "ada", say)
    finally:
        assert list((child.cache_dir() / "brought").iterdir()) == [], "its files are gone"


def test_the_answer_of_the_command_and_its_lines(answering: Callable[[str], None]) -> None:
    answering(ECHO)
    lines: list[str] = []
    found = bring(Given("signs.zip", b"zip"), say=lines.append)
    root, words = found["root"], found["words"]
    assert words[:4] == ["-m", "ngf", "import", f"{root}/model/model.pt"]
    assert words[4:6] == ["--images", f"{root}/images/signs.zip"]
    assert words[6:] == ["--size", "32", "--owner", "ada", "--json"]
    assert found["files"] == {"model/model.pt": "weights", "images/signs.zip": "zip"}
    assert found["mode"] & 0o077 == 0 and lines == ["one line", "another"]


def test_pictures_with_the_trigger_come_along(answering: Callable[[str], None]) -> None:
    answering(ECHO)
    seen = Given("seen.npz", b"npz")
    found = import_model(MODEL, [Given("a.zip", b"1")], [], "ada", lambda line: None, seen)
    assert found["words"][6:8] == ["--poisoned", f"{found['root']}/poisoned/seen.npz"]
    assert found["files"]["poisoned/seen.npz"] == "npz"


def test_a_few_images_lie_in_one_folder(answering: Callable[[str], None]) -> None:
    """Two of one name, from two folders of a visitor, are two."""
    answering(ECHO)
    found = bring(Given("a.png", b"1"), Given("a.png", b"2"), Given("labels.csv", b"a.png,x"))
    assert found["words"][4:6] == ["--images", f"{found['root']}/images"]
    images = {name: data for name, data in found["files"].items() if name.startswith("images/")}
    assert images == {
        "images/a.png": "1",
        "images/2-a.png": "2",
        "images/labels.csv": "a.png,x",
    }


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../escape.pt", "escape.pt"),
        ("..\\..\\escape.pt", "escape.pt"),
        ("/etc/passwd", "passwd"),
        ("C:\\models\\net.pt", "net.pt"),
        ("..", "file"),
        ("...", "file"),
        ("", "file"),
        ("/", "file"),
        (".hidden.pt", "hidden.pt"),
        ("--owner=eve.pt", "--owner=eve.pt"),
        ("a\nb\x00c\u202e.pt", "a_b_c_.pt"),
        ("\ud800.pt", "_.pt"),
        ("x" * 5000 + ".pt", "x" * 197 + ".pt"),
        ("\U0001f600" * 5000 + ".pt", "\U0001f600" * 49 + ".pt"),
    ],
)
def test_a_name_stays_in_the_folder(answering: Callable[[str], None], name: str, kept: str) -> None:
    answering(ECHO)
    found = bring(Given(name, b"image"), weights=Given(name, b"weights"))
    assert found["files"] == {f"model/{kept}": "weights", f"images/{kept}": "image"}
    assert found["words"][3] == f"{found['root']}/model/{kept}"


def test_a_question_and_a_refusal_are_answers_too(answering: Callable[[str], None]) -> None:
    for answer in ({"status": "asked", "questions": []}, {"error": {"message": "no"}}):
        answering(f"import sys; print({json.dumps(answer)!r}); sys.exit(2)")
        assert bring(MODEL) == answer


def test_an_end_without_an_answer_is_told(answering: Callable[[str], None]) -> None:
    for program, code in (
        ("import sys; sys.exit(3)", "3"),
        ("import os, sys; print('{', flush=True); os.kill(os.getpid(), 9)", "-9"),
    ):
        answering(program)
        error = bring(MODEL)["error"]
        assert error["kind"] == "crash" and f"(exit code {code})" in error["message"]


def test_one_that_takes_too_long_is_ended(
    answering: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering("import sys, time; print('begun', file=sys.stderr, flush=True); time.sleep(600)")
    monkeypatch.setattr(child, "SECONDS", 0.5)
    error = bring(MODEL)["error"]
    assert error["kind"] == "crash" and "more than ten minutes" in error["message"]


def test_it_ends_when_the_visitor_has_left(answering: Callable[[str], None]) -> None:
    answering("import sys, time; print('begun', file=sys.stderr, flush=True); time.sleep(600)")

    def leave(line: str) -> None:
        raise InterruptedError(line)

    with pytest.raises(InterruptedError, match="begun"):
        bring(MODEL, say=leave)


def test_much_that_is_said_blocks_nobody(answering: Callable[[str], None]) -> None:
    """Both streams hold more than a pipe does."""
    answering(
        "import json, sys\n"
        "print(json.dumps({'long': 'x' * 2**18}), flush=True)\n"
        "for k in range(2**12): print('line', k, 'y' * 60, file=sys.stderr)"
    )
    lines: list[str] = []
    found = bring(MODEL, say=lines.append)
    assert len(found["long"]) == 2**18 and len(lines) == 2**12
