"""Small parts of README.md: wrapped text, tables, words for many values."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from evidence.computing import Failed

WIDTH = 119
Row = dict[str, Any]
Cell = Callable[[Row], object]


def one(values: Iterable[Any]) -> Any:
    """The value that all of `values` are. Raises `Failed` when they differ: then the sentence that
    names it is no longer true.
    """
    found = list(dict.fromkeys(values))
    if len(found) != 1:
        raise Failed(f"One value is meant for a sentence of README.md, there are {found}.")
    return found[0]


def wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def machine(environments: Iterable[Mapping[str, Any]], shared: str = "") -> str:
    """Cores, processor and torch; of each machine, where there were several."""
    told = Counter(
        f"{found['cores']} {shared}cores of an {found['hardware']}, torch "
        f"{found['torch'].partition('+')[0]}"
        for found in environments
    )
    return " or ".join(sorted(told, key=lambda text: (-told[text], text)))


def table(rows: Iterable[Row], columns: Mapping[str, Cell]) -> str:
    return markdown([*columns], [[cell(item) for cell in columns.values()] for item in rows])


def listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def between(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
