"""Work shared out to the cores of a CPU, one thread for each piece.

Small networks gain more from that than from sharing out each operation: on two cores a product with
the Hessian of the tiny network takes three quarters of the time. The numbers do not depend on how
many cores there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One core for each operation: small ones lose by being shared out, on a busy machine by a
    factor of ten.

    Part of the number of threads belongs to the process, so it is put back at the end.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over_cores(
    work: Callable[[_Item], _Found], items: Sequence[_Item], where: torch.device
) -> Iterator[_Found]:
    """What `work` makes of each item, in their order. It may be called from several threads at once
    where it computes on a CPU.
    """
    threads = min(torch.get_num_threads(), len(items)) if where.type == "cpu" else 1
    with one_thread():
        if threads < 2:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(
            threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as workers:
            yield from workers.map(work, items)
