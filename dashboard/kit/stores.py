"""The store of this server, whole. Pages take it as their visitor may see it: `library.store`."""

from __future__ import annotations

import functools
import os

from ngf.runs.store import Store


def whole() -> Store:
    """One object for all visitors and for the JSON routes. Another `NGF_RUNS` is another store."""
    return _store(os.environ.get("NGF_RUNS", ""), os.getcwd())


@functools.lru_cache(maxsize=4)
def _store(root: str, folder: str) -> Store:
    return Store()
