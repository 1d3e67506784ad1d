"""A Dask cluster of this machine in processes of its own, which a test may kill, and sweeps that
only count.

`python -m tests.helpers.cluster '{"n_workers": 3}'` starts the LocalCluster of Dask that is told,
prints the address of its scheduler, and ends at the end of standard input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from ngf.config import Spec
from ngf.places import ROOT, child_environment
from ngf.runs.store import Store
from ngf.sweeps.cluster.service import Cluster
from ngf.sweeps.folder import Sweep
from ngf.sweeps.local import follow
from ngf.sweeps.spec import SweepSpec
from tests.helpers.processes import PIPELINE

BLIND = {"preload": ["tests.helpers.blind"]}  # workers that do not see the store


class Machines:
    """Scheduler, nannies and workers. `kill` ends all at once, as the loss of power does."""

    def __init__(self, **options: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.cluster", json.dumps(options)],
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.address, self.pid = self._process.stdout.readline().strip(), self._process.pid

    def pids(self) -> list[int]:
        """Process numbers of the workers that live."""
        if self._process.poll() is not None:
            return []
        with Client(self.address, timeout=60, set_as_default=False) as client:
            found: dict[str, int] = client.run(os.getpid, on_error="ignore")
        return list(found.values())

    def wait_for(self, count: int) -> None:
        """Wait until so many workers are there."""
        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def kill_worker(self, of: int) -> bool:
        """`kill -9` of one, whose nanny starts another; False when not so many live just now."""
        pids = self.pids()
        if len(pids) == of:
            os.kill(pids[0], signal.SIGKILL)
        return len(pids) == of

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def end(self) -> None:
        self._process.communicate()


@contextmanager
def machines(**options: Any) -> Iterator[Machines]:
    found = Machines(**options)
    try:
        yield found
    finally:
        found.end()


@contextmanager
def worker(
    address: str, *options: str, code: Path = ROOT, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """One more worker, with the packages in the folder `code`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
        + ["--no-dashboard", *options],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def sweep_of(store: Store, specs: Iterable[Spec]) -> Sweep:
    """A sweep of these runs, all of which wait."""
    runs = tuple(store.submit(spec).id for spec in specs)
    return Sweep(SweepSpec({"kind": "train"}, {"seed": (0,)}), (), runs)


def executed(
    sweep: Sweep,
    store: Store,
    address: str,
    say: Callable[[str], None] = lambda text: None,
    each: Callable[[Mapping[str, str]], None] = lambda states: None,
) -> dict[str, int]:
    """How many runs of a sweep ended in which state. each: called at every look."""

    class Watched(Cluster):
        def ensure(self, states: Mapping[str, str]) -> None:
            super().ensure(states)
            each(states)

    with Watched(store, address, say, PIPELINE) as service:
        return dict(follow(sweep, store, say, service))


def steps(store: Store, spec: Spec) -> int:
    """How many steps of a run are told here."""
    run = store.find(spec.id)
    return sum(event["type"] == "epoch" for event in run.events()) if run else 0


def main() -> None:
    given = {"threads_per_worker": 1, "dashboard_address": None, **json.loads(sys.argv[1])}
    adapt = given.pop("adapt", None)
    with LocalCluster(processes=True, **given) as running:
        if adapt is not None:
            running.adapt(**adapt)
        print(running.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
