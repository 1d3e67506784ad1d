"""Runs that are executed where their store is not seen: each is sent with what it starts from, told
about, told to stop, and taken back. From the moment when it begins its lock is held here, so that
its folder says that it is running, and nobody else executes it; the lock falls with this process.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ngf.runs.files import DiskFull, Lock, to_json
from ngf.runs.folder import ERROR, EVENTS, LOCK
from ngf.runs.kills import MAX_KILLS, fail
from ngf.runs.store import Run, Store
from ngf.sweeps.cluster.on_worker import execute_away, tell
from ngf.sweeps.cluster.parcel import forget, origins, pack, pack_origin, take_in

if TYPE_CHECKING:
    from distributed import Client, Future

MOST = 500  # runs at a time: each that has begun is an open file here
FETCH = 60.0  # seconds in which a folder comes back while its worker lives
_SMALL = 2**16  # bytes of a folder that is sent with its task, not ahead of it


@dataclass
class _Sent:
    """A run that is away. key: of its task; origins: names of what was sent ahead; begun: names of
    the workers where it has; lock: held once it has begun.
    """

    key: Any
    origins: tuple[str, ...]
    begun: list[str] = field(default_factory=list)
    lock: Lock | None = None


class Away:
    """Those of one sweep.

    refuse: called with the address of a worker that may have no more, and why.
    """

    def __init__(
        self, client: Client, store: Store, pipeline: str, refuse: Callable[[str, str], None]
    ) -> None:
        self._client, self._store, self._pipeline = client, store, pipeline
        self._refuse = refuse
        self._topic = f"ngf-{uuid.uuid4().hex}"
        self._told: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._sent: dict[str, _Sent] = {}
        self._ahead: dict[str, Future[Any]] = {}  # folder of an origin -> what was sent of it
        client.subscribe_topic(self._topic, lambda event: self._told.put(event[1]))

    def send(self, run: Run, resources: Mapping[str, float]) -> Future[Any]:
        """Its task."""
        forget(run)
        parcels: dict[str, Any] = {run.id: self._travelling(pack(run.path))}
        ahead = []
        for name, path_too in origins(run).items():
            ahead.append(place := f"{name} {path_too}")
            if place not in self._ahead or self._ahead[place].status != "finished":
                # for the first time, or again because the workers that had it are dead
                parcel = pack_origin(self._store.get(name), path_too)
                self._ahead[place] = self._client.scatter(parcel, hash=False)
            parcels[name] = self._ahead[place]
        key = ("ngf", self._topic, run.id, uuid.uuid4().hex)
        future = self._client.submit(
            execute_away,
            run.id,
            parcels,
            self._topic,
            self._pipeline,
            key=key,
            resources=dict(resources),
        )
        self._sent[run.id] = _Sent(key, tuple(ahead))
        return future

    def _travelling(self, parcel: Any) -> Any:
        large = sum(map(len, parcel.values())) > _SMALL
        return self._client.scatter(parcel, hash=False) if large else parcel

    def follow(self, workers: Iterable[str]) -> None:
        """Write down what was told of runs, and pass on what was asked of them."""
        while True:
            try:
                message = self._told.get_nowait()
            except Empty:
                break
            if (sent := self._sent.get(message["run"])) is None:
                continue
            if "begun" in message:
                sent.begun.append(message["begun"])
                if not self._has_lock(message["run"]):  # somebody else was first
                    self._client.run(tell, [sent.key], "end", on_error="ignore")
            elif sent.lock is not None:
                self._append(message)
        stops: dict[str, list[Any]] = {}
        for run_id, sent in self._sent.items():
            run = self._store.find(run_id)
            if run is not None and run.facts.command in ("pause", "cancel"):
                stops.setdefault(run.facts.command, []).append(sent.key)
        for command, keys in stops.items():
            self._client.run(tell, keys, command, workers=list(workers), on_error="ignore")

    def _has_lock(self, run_id: str) -> bool:
        """Take the lock of a run, where it is not held yet; False when somebody else has it, or has
        had it and the run has ended.
        """
        sent, run = self._sent[run_id], self._store.find(run_id)
        if sent.lock is None and run is not None:
            lock = Lock(run.path / LOCK)
            where = f"worker {sent.begun[-1]}" if sent.begun else "a worker"
            if lock.acquire(role="sweep", about={"host": where}):
                sent.lock = lock
        if sent.lock is not None and (run is None or run.facts.ended):
            sent.lock.release()
            sent.lock = None
        return sent.lock is not None

    def _append(self, message: Mapping[str, Any]) -> None:
        """Events for the page; what does not follow on what is there comes with the folder."""
        path = self._store.root / message["run"] / EVENTS
        if (path.stat().st_size if path.exists() else 0) == message["at"]:
            with open(path, "ab") as file:
                file.write(message["text"].encode())

    def take_in(self, run_id: str, future: Future[Any]) -> bool:
        """Put back what came of a run; False when it has not arrived yet. Raises DiskFull when
        there is no space here.
        """
        try:
            found = future.result(timeout=FETCH)
        except (TimeoutError, CancelledError):  # its worker died with it: it is computed again
            return False
        run = self._store.find(run_id)
        if found is None or run is None or not self._has_lock(run_id):
            return True
        worker, name, parcel = found
        error = json.loads(parcel.get(ERROR, b"{}"))
        if error.get("kind") == DiskFull.kind:
            error["message"] = f"On worker {name}: {error['message']}"
            parcel[ERROR] = to_json(error).encode()
            self._refuse(worker, "its disk is full")
        take_in(run, parcel)
        return True

    def killed(self, run_id: str) -> None:
        """Several workers died with it; nothing came back, so that nothing is progress."""
        run = self._store.find(run_id)
        begun = len(self._sent[run_id].begun)
        if run is not None and begun > MAX_KILLS:
            fail(run, begun)

    def let_go(self, run_id: str) -> None:
        """Nobody executes it any more on our behalf."""
        sent = self._sent.pop(run_id)
        if sent.lock is not None:
            sent.lock.release()
        in_use = {place for other in self._sent.values() for place in other.origins}
        for place in self._ahead.keys() - in_use:
            del self._ahead[place]
        self._store.wake()
