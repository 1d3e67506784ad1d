"""Who may have a run, and who is refused by name."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.store import Store
from tests.helpers.cluster import Machines, executed, machines, sweep_of, worker
from tests.helpers.processes import counting

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and pipes are those of POSIX")


def test_workers_with_other_code_or_torch_are_refused_by_name(store: Store, tmp_path: Path) -> None:
    for name in ("code", "torch"):
        for package in ("ngf", "analysis"):
            shutil.copytree(ROOT / package, tmp_path / name / package)
    (tmp_path / "code" / "ngf" / "evaluate.py").write_text("# another version\n")
    about = tmp_path / "torch" / "torch-9.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    (tmp_path / "none").mkdir()
    sweep = sweep_of(store, [counting(steps=5)])
    said: list[str] = []
    with ExitStack() as stack:
        found = stack.enter_context(machines(n_workers=0))
        for name in ("code", "torch", "none"):
            stack.enter_context(
                worker(found.address, "--name", f"odd-{name}", code=tmp_path / name)
            )
        found.wait_for(3)
        with pytest.raises(SpecError, match=r"None of the workers of tcp.* can be used \(3\)"):
            executed(sweep, store, found.address, said.append)
        assert len(said) == 3 and all("is refused" in text for text in said)
        assert "Worker odd-code at tcp://" in "".join(said) and "source code" in "".join(said)
        assert "torch 9.9 there, 2." in "".join(said)
        assert "it has no ngf or another one" in "".join(said)
        stack.enter_context(worker(found.address))
        found.wait_for(4)
        assert executed(sweep, store, found.address) == {"done": 1}


def test_a_worker_on_which_no_process_starts_does_not_swallow_the_sweep(
    store: Store, two: Machines
) -> None:
    specs = [counting(seed, steps=150) for seed in range(6)]
    said: list[str] = []
    with worker(two.address, NGF_NICE="no number"):
        two.wait_for(3)
        assert executed(sweep_of(store, specs), store, two.address, said.append) == {"done": 6}
    assert sum("processes cannot start there" in text for text in said) == 1
    assert all(store.get(spec.id).attempts == 1 for spec in specs)


def test_without_workers_a_cluster_that_adapts_itself_starts_some(
    store: Store, tmp_path: Path
) -> None:
    said: list[str] = []
    sweep = sweep_of(store, [counting(seed, steps=200) for seed in range(4)])
    with machines(n_workers=0, adapt={"minimum": 0, "maximum": 2}) as found:
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": found.address}))
        assert executed(sweep, store, str(file), said.append) == {"done": 4}
    assert sum("has no workers yet" in text for text in said) == 1
