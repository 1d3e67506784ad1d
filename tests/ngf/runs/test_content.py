"""Two folders of images with equal settings are two data sets."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.options import SpecError
from ngf.runs.content import check_content, content
from ngf.runs.store import Store
from ngf.runs.submit import submit

SPEC = TrainSpec(data="folder", attack=Choice("badnets"))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b"):
        for kind in ("cat", "dog"):
            (tmp_path / "one" / "folder" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "one" / "folder" / kind / f"{name}.png").write_bytes(name.encode())
    monkeypatch.setenv("NGF_DATA", str(tmp_path / "one"))
    return tmp_path


def test_another_folder_is_another_run(
    folders: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(SPEC, store)
    assert submit(SPEC, store).id == first.id
    shutil.copytree(folders / "one", folders / "same")  # with its times
    shutil.copytree(folders / "one", folders / "other")
    changed = folders / "other" / "folder" / "cat" / "a.png"
    before = changed.stat()
    changed.write_bytes(b"x")  # as long as before, and changed at another time
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    monkeypatch.setenv("NGF_DATA", str(folders / "same"))
    assert submit(SPEC, store).id == first.id
    monkeypatch.setenv("NGF_DATA", str(folders / "other"))
    assert submit(SPEC, store).id != first.id


def test_changed_images_are_refused_before_the_start(folders: Path, store: Store) -> None:
    run = submit(SPEC, store)
    (folders / "one" / "folder" / "cat" / "new.png").write_bytes(b"new")
    for spec in (
        run.spec,
        PurifySpec(parent=run.id, lanes=(Choice("ngf"),)),
        MeasureSpec(target=run.id, measurement=Choice("fisher_trace")),
    ):
        with pytest.raises(SpecError, match="added, changed or taken away"):
            submit(spec, store)
    assert submit(SPEC, store).id != run.id


def test_sets_that_are_verified_have_none() -> None:
    assert content("signs") == content("cifar10") == ""
    check_content(TrainSpec())
    with pytest.raises(SpecError, match="your own images"):
        check_content(replace(TrainSpec(), content="abc"))
