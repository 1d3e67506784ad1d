"""The lanes of runs: in words for the table of runs, and one row each for its download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard.charts.rates import RATES
from dashboard.charts.titles import lane_title

Row = Mapping[str, Any]  # of `ngf.runs.rows`


def say_lanes(rows: Sequence[Row]) -> str:
    """What each lane of a race reached, `NGF: CA 98.8 %, ASR 0.6 %, RA 98.2 %; SGD: ...`; empty for
    a run with one row, whose numbers have columns of their own.
    """
    if len(rows) < 2:
        return ""
    return "; ".join(f"{lane_title(row['lane'])}: {_reached(row)}" for row in rows)


def _reached(row: Row) -> str:
    if row["diverged"]:
        return f"diverged at step {row['diverged']['step']}"
    known = [
        f"{rate.short} {100 * row[rate.key]:.1f} %" for rate in RATES if row[rate.key] is not None
    ]
    return ", ".join(known) or "not measured yet"


def sheet(rows: Sequence[Row]) -> pd.DataFrame:
    """A row per lane, under the names of `ngf list --json`; an interval is two columns, `ca_low`
    and `ca_high`.
    """
    return pd.DataFrame([_flat(row) for row in rows], dtype=object)  # a count stays whole


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_interval"):
            stem = name.removesuffix("_interval")
            flat[f"{stem}_low"], flat[f"{stem}_high"] = value or (None, None)
        elif name == "diverged":
            flat["diverged_at_step"] = value and value["step"]
        else:
            flat[name] = value
    return flat
