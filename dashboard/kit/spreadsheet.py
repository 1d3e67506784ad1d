"""Tables as CSV that a spreadsheet opens as what it is: numbers and texts, never formulas."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"\s*[-=+@\uff1d\uff0b\uff0d\uff20]")  # also in full width
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")  # a carriage return begins a row in some programs


def harmless(cell: Any) -> Any:
    """A cell as it is, or behind an apostrophe when a spreadsheet would calculate it; a number
    stays one, also as text. Control characters become spaces.
    """
    if not isinstance(cell, str):
        return cell
    text = _CONTROL.sub(" ", cell)
    with contextlib.suppress(ValueError):
        float(text)
        return text
    return f"'{text}" if _FORMULA.match(text) else text


def as_csv(table: pd.DataFrame, about: Iterable[str] = ()) -> str:
    """The table with its heading and without its index, as CSV. Every download goes through
    here: names of attacks, layers and classes come from folders of runs, which anybody may write.

    about: lines in front of it, which tell what the numbers are of. They begin with `#`, so
        `pandas.read_csv(file, comment="#")` reads the rest; texts are then in quotes, in which a
        `#` is one of their letters.
    """
    lines = [f"# {_CONTROL.sub(' ', line)}\n" for line in about]
    clean = table.map(harmless).rename(columns=harmless)
    if not lines:
        return clean.to_csv(index=False)
    return "".join(lines) + clean.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
