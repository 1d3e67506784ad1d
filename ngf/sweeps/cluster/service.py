"""Executes a sweep on the workers of a Dask scheduler, which its user starts on a cluster.

This process knows nothing that the folders of the runs do not say, so that it may be killed and
started again: it hands out what is ready, a bounded number at a time, and hands out again what was
lost. Workers that share the store write into the folders themselves, and the lock of a run settles
who executes it; for others, see `ngf.sweeps.cluster.away`.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ngf.options import SpecError
from ngf.runs.child import PATIENCE, explain, write_error
from ngf.runs.files import Lock
from ngf.runs.folder import FINAL
from ngf.runs.kills import MAX_KILLS, given_up
from ngf.runs.store import Run, Store, parent_id
from ngf.sweeps.cluster.away import MOST, Away
from ngf.sweeps.cluster.on_worker import CannotStart, WorkerFull, execute, leave, tell
from ngf.sweeps.cluster.workers import Workers
from ngf.sweeps.folder import FOLDER

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER = 10.0  # seconds that a scheduler has to answer, at the start and after a lost connection
AHEAD = 2  # runs handed out for each that is executed, so that no worker waits for this process
LEAST = 100  # and at least so many, by which a cluster that adapts itself sees that more can work
STUCK = 5.0  # seconds between two looks at tasks that no worker has
REST = 2.0  # seconds before a run is handed out again: a shared folder may show late what happened
_LOOK = 0.1  # seconds between two looks at the runs that save a checkpoint at the end
_CHECKS = "Check the address, that `dask scheduler` runs there, and that no firewall is between."


def connect(address: str) -> Client:
    """A client of the scheduler at `address`, or of which `address` is the scheduler file. Raises
    SpecError.
    """
    try:
        from distributed import Client
    except ImportError as exc:
        raise SpecError(
            "Dask is not installed here: pip install 'ngf-dashboard[cluster]', or distributed."
        ) from exc
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # all of it is said here
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        return Client(**where, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError, KeyError) as exc:  # ValueError, KeyError: an odd address or file
        why = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise SpecError(f"The scheduler {address} does not answer ({why}). {_CHECKS}") from exc


@dataclass
class _Handed:
    future: Future[Any]
    since: float


class Cluster:
    """Has the runs of a sweep executed by the workers of the scheduler at `address`, until the end
    of the `with` block.

    address: as Dask prints it (tcp://HOST:8786), or the path of its scheduler file.
    say: told what concerns the whole sweep, such as a worker that is refused.
    pipeline: module that executes every kind of run, instead of ngf's own.
    """

    def __init__(
        self, store: Store, address: str, say: Callable[[str], None], pipeline: str = ""
    ) -> None:
        self._store, self._address, self._say, self._pipeline = store, address, say, pipeline
        self._handed: dict[str, _Handed] = {}
        self._not_before: dict[str, float] = {}
        self._parents: dict[str, str | None] = {}
        self._odd: Counter[str] = Counter()  # run -> errors that nobody expects
        self._again: Counter[str] = Counter()  # run -> how often no worker had its task
        self._unseen: set[str] = set()
        self._asked = 0.0
        self._lost_since: float | None = None

    def __enter__(self) -> Self:
        """Raises SpecError when the scheduler does not answer, or all its workers are refused."""
        with ExitStack() as stack:
            self._client = connect(self._address)
            stack.callback(self._client.close)
            token = self._store.root / FOLDER / f"{uuid.uuid4().hex}.token"
            token.parent.mkdir(parents=True, exist_ok=True)
            stack.callback(token.unlink, missing_ok=True)
            lock = Lock(token)
            lock.acquire()
            stack.callback(lock.release)
            root = str(self._store.root)
            self._workers = Workers(self._client, self._address, root, str(token), self._say)
            self._away = Away(self._client, self._store, self._pipeline, self._workers.refuse)
            self._workers.greet()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack, suppress(OSError):  # OSError: a scheduler that has gone
            try:
                self._stop()
            finally:
                for run_id in list(self._handed):
                    self._let_go(run_id)

    def ensure(self, states: Mapping[str, str]) -> None:
        """Called again and again with the states of all runs, as their folders tell them.

        Raises SpecError when no worker can be used, ConnectionError when the scheduler has gone,
        and DiskFull when there is no space here.
        """
        try:
            if self._client.status == "running":
                if self._workers.greet():
                    self._anew(self._handed)  # Dask does not look again at what waited for them
                self._away.follow(self._workers.used)
                self._collect()
                self._look_for_stuck()
                self._hand_out(states)
                self._lost_since = None
                return
        except OSError as exc:
            if exc.errno is not None and not isinstance(exc, ConnectionError):  # a file here
                raise
        self._lost_since = self._lost_since or time.monotonic()
        if self._client.status == "closed" or time.monotonic() - self._lost_since > 2 * ANSWER:
            raise ConnectionError(
                f"The scheduler {self._address} has gone; what is done stays. Start it and its "
                "workers again, then `sweep resume` goes on."
            )

    # ---- handing out

    def _hand_out(self, states: Mapping[str, str]) -> None:
        if not self._workers.slots:
            return
        room = max(LEAST, AHEAD * self._workers.slots) - len(self._handed)
        if not self._workers.shared:
            room = min(room, MOST - len(self._handed))
        now = time.monotonic()
        for run_id, status in states.items():
            if room <= 0:
                return
            waits = status in ("queued", "lost") and run_id not in self._handed
            if waits and self._not_before.get(run_id, 0.0) < now and self._ready(run_id, states):
                room -= self._hand(run_id)

    def _ready(self, run_id: str, states: Mapping[str, str]) -> bool:
        """Whether what it starts from has ended; without any it starts, to fail with a reason."""
        if run_id not in self._parents:
            run = self._store.find(run_id)
            self._parents[run_id] = parent_id(run.spec) if run else None
        if (parent := self._parents[run_id]) is None:
            return True
        if parent in states:
            return states[parent] in FINAL
        before = self._store.find(parent)
        return before is None or before.status in FINAL

    def _hand(self, run_id: str) -> bool:
        """Hand out a run; False when it does not wait any more."""
        run = self._store.find(run_id)
        if run is None or run.status not in ("queued", "lost"):
            return False
        if self._workers.shared:
            future = self._task(run)  # which counts kills: Dask starts it again without asking here
        elif run.status == "lost" and given_up(run, self._say):
            return False
        else:
            future = self._away.send(run, self._workers.needed())
        self._handed[run_id] = _Handed(future, time.monotonic())
        return True

    def _task(self, run: Run) -> Future[Any]:
        """The same for every client of the scheduler: sweeps that share a run share its task."""
        place = hashlib.sha256(str(self._store.root).encode()).hexdigest()[:10]
        return self._client.submit(
            execute,
            str(run.path),
            self._pipeline,
            key=("ngf", place, run.id, run.attempts, self._again[run.id]),
            resources=self._workers.needed(),
        )

    # ---- what came of it

    def _collect(self) -> None:
        for run_id, handed in list(self._handed.items()):
            status = handed.future.status
            if status == "pending":
                continue
            if status == "error":
                self._look_at(run_id, handed.future.exception())
            comes_back = status == "finished" and not self._workers.shared
            if comes_back and not self._away.take_in(run_id, handed.future):
                continue
            self._let_go(run_id)  # also what Dask has cancelled: its folder tells how far it is

    def _look_at(self, run_id: str, exc: BaseException | None) -> None:
        """Why a task could not do what it should; what a run itself did is told by its folder."""
        from distributed import KilledWorker

        if isinstance(exc, KilledWorker):
            if not self._workers.shared:
                self._away.killed(run_id)
            return
        if isinstance(exc, CannotStart):
            self._workers.failed(exc)
            return
        if isinstance(exc, WorkerFull):
            self._workers.refuse(exc.worker, "its disk is full")
            self._odd[run_id] = MAX_KILLS
        self._odd[run_id] += 1
        run = self._store.find(run_id)
        if exc is not None and run is not None and self._odd[run_id] >= MAX_KILLS:
            write_error(run, **explain(exc, run.path))

    def _look_for_stuck(self) -> None:
        """Hand out anew what no worker has that may have it, twice in a row: one may have been
        refused meanwhile, or died in the moment in which another was accepted.
        """
        if time.monotonic() - self._asked < STUCK:
            return
        self._asked = time.monotonic()
        found = self._client.processing()
        at_work = {key for worker in self._workers.used for key in found.get(worker, ())}
        unseen = {
            run_id
            for run_id, handed in self._handed.items()
            if handed.future.status == "pending" and handed.future.key not in at_work
        }
        self._anew(unseen & self._unseen)
        self._unseen = unseen

    def _anew(self, run_ids: Iterable[str]) -> None:
        """Hand out again at once what no worker has."""
        for run_id in list(run_ids):
            self._let_go(run_id)
            del self._not_before[run_id]
            self._again[run_id] += 1

    def _let_go(self, run_id: str) -> None:
        self._handed.pop(run_id).future.release()
        self._not_before[run_id] = time.monotonic() + REST
        if not self._workers.shared:
            self._away.let_go(run_id)

    # ---- the end

    def _stop(self) -> None:
        """Have all runs save a checkpoint, and take back what was sent away."""
        if self._client.status != "running":
            return
        for run_id in list(self._handed):
            if not self._goes_on(run_id):
                self._let_go(run_id)
        if self._handed:
            self._say("Runs that are executed save a checkpoint; the others wait.")
        keys = [handed.future.key for handed in self._handed.values()]
        workers, until = self._workers.used, time.monotonic() + PATIENCE
        self._client.run(tell, keys, "end", workers=workers, on_error="ignore")
        while self._handed and time.monotonic() < until:
            time.sleep(_LOOK)
            self._away.follow(())
            self._collect()
        self._client.run(leave, workers=workers, on_error="ignore")

    def _goes_on(self, run_id: str) -> bool:
        """Whether a worker executes it at this moment."""
        run = self._store.find(run_id)
        return run is not None and run.status == "running"
