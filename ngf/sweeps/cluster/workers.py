"""Which workers of a scheduler may have a run: those with the code and the torch of this process.

They are given a resource whose name says so, and Dask sends runs nowhere else. Who comes later, or
again under another address, is asked like the first.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ngf.options import SpecError
from ngf.runs.kills import MAX_KILLS
from ngf.sweeps.cluster.on_worker import (
    CannotStart,
    describe,
    grant,
    identity,
    sight_name,
    slot_name,
)

if TYPE_CHECKING:
    from distributed import Client, Future

ALONE = 30.0  # seconds in which only workers are there that cannot be used: others may be starting
_SIGHTED = 1e6  # of the resource of workers that see the store; a run takes 1
_WORDS = {"ngf": "ngf", "torch": "torch", "numbers": "numbers", "source": "source code"}


class Workers:
    """Those of the scheduler of `client`.

    root: folder of the store; token: a file in it that this process has locked.
    shared: whether they see the store; None before the first worker.
    """

    def __init__(
        self, client: Client, address: str, root: str, token: str, say: Callable[[str], None]
    ) -> None:
        self._client, self._address, self._say = client, address, say
        self._root, self._token = root, token
        self.shared: bool | None = None
        self._slots: dict[str, int] = {}  # address -> runs at a time, 0 for one that is refused
        self._names: dict[str, str] = {}
        self._devices: set[str] = set()
        self._unable: Counter[str] = Counter()  # address -> processes that could not start
        self._alone_since: float | None = None
        self._knock: Future[Any] | None = None

    @property
    def slots(self) -> int:
        """Runs that they execute at a time, all together."""
        return sum(self._slots.values())

    @property
    def used(self) -> list[str]:
        return [address for address, slots in self._slots.items() if slots]

    def needed(self) -> dict[str, float]:
        """Resources that a run takes."""
        sight = {sight_name(self._root): 1.0} if self.shared else {}
        return {slot_name(): 1.0, **sight}

    def greet(self) -> bool:
        """Ask those that have come, and forget those that have gone. True when some can be used and
        before there were none.

        Raises SpecError when there are only others, from the beginning or for a while.
        """
        first = not self._slots
        there = self._client.nthreads()
        for address in self._slots.keys() - there.keys():
            del self._slots[address]
        before = self.used
        if new := [address for address in there if address not in self._slots]:
            self._ask(new)
        if not self._slots and self._knock is None:
            # any task: it has a cluster that adapts itself start its first worker
            self._knock = self._client.submit(os.getpid, pure=False)
            self._say(
                f"The scheduler {self._address} has no workers yet: the first that comes begins. "
                f"`dask worker {self._address}` starts one."
            )
        elif self._slots:
            self._knock = None
        if self.used or not self._slots:
            self._alone_since = None
            return not before and bool(self.used)
        now = time.monotonic()
        self._alone_since = self._alone_since or now
        if first or now - self._alone_since > ALONE:
            raise SpecError(
                f"None of the workers of {self._address} can be used ({len(self._slots)}). Start "
                "some with the code and the packages of this machine."
            )
        return False

    def _ask(self, new: list[str]) -> None:
        found: dict[str, Any] = self._client.run(
            describe, self._root, self._token, workers=new, on_error="return"
        )
        fit: dict[str, Mapping[str, Any]] = {}
        for address, about in found.items():
            if isinstance(about, OSError):  # it has gone meanwhile, or is asked again
                continue
            self._names[address] = _name(address, about)
            if why := against(about):
                self.refuse(address, why)
            else:
                fit[address] = about
        if self.shared is None and fit:
            self.shared = any(about["sees"] for about in fit.values())
            if not self.shared:
                self._say(
                    f"No worker sees the locks in {self._root}: runs are sent to them, and their "
                    "folders come back at the end."
                )
        for address, about in fit.items():
            if self.shared and not about["sees"]:
                self.refuse(address, f"it does not see the locks in {self._root}, others do")
            else:
                self._accept(address, about)

    def _accept(self, address: str, about: Mapping[str, Any]) -> None:
        resources: dict[str, float] = {slot_name(): about["slots"]}
        if about["sees"]:
            resources[sight_name(self._root)] = _SIGHTED
        self._client.run(grant, resources, workers=[address], on_error="ignore")
        self._slots[address] = about["slots"]
        if self._devices and about["device"] not in self._devices:
            devices = ", ".join(sorted({*self._devices, about["device"]}))
            self._say(
                f"Workers compute on different devices ({devices}): last digits of a run depend on "
                "where it is computed."
            )
        self._devices.add(about["device"])

    def refuse(self, address: str, why: str) -> None:
        """Have no more runs sent to a worker."""
        if self._slots.get(address):
            self._client.run(grant, {slot_name(): 0.0}, workers=[address], on_error="ignore")
        self._slots[address] = 0
        self._say(f"{self._names.get(address, address)} is refused: {why}.")

    def failed(self, exc: CannotStart) -> None:
        """A process could not start there; a worker on which none can would swallow every run."""
        self._unable[exc.worker] += 1
        if self._unable[exc.worker] == MAX_KILLS:
            self.refuse(
                exc.worker,
                f"processes cannot start there ({exc.why}); its own output tells why",
            )


def against(about: Any) -> str:
    """What speaks against a worker that says this of itself; empty where nothing does."""
    if not isinstance(about, Mapping):
        return f"it cannot be asked, because it has no ngf or another one ({about})"
    mine = identity()
    other = [name for name, value in mine.items() if about.get(name) != value]
    return ", ".join(f"{_WORDS[name]} {about.get(name)} there, {mine[name]} here" for name in other)


def _name(address: str, about: Any) -> str:
    name = about.get("name", address) if isinstance(about, Mapping) else address
    return f"Worker {name}" if name == address else f"Worker {name} at {address}"
