"""What a table must be before anything is computed from it; what is wrong is said in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

BENIGN = "none"  # the name of no attack


def checked(
    frame: pd.DataFrame,
    name: str,
    *,
    keys: Sequence[str],
    positive: Iterable[str] = (),
    fractions: Iterable[str] = (),
    finite: Iterable[str] = (),
) -> pd.DataFrame:
    """The frame with a fresh index. A row is one model (or one point), which `keys` tell apart.

    name: what the table is called in errors. positive: columns of which a logarithm is taken;
    fractions: columns in [0, 1]; finite: any numbers. Raises ValueError for an empty table, a
    missing column, a value that is not finite, not positive or not in [0, 1], and for two rows with
    the same keys.
    """
    positive, fractions, finite = list(positive), list(fractions), list(finite)
    needed = (*keys, *positive, *fractions, *finite)
    lacking = [column for column in needed if column not in frame.columns]
    if lacking:
        raise ValueError(f"The table of {name} has no column {', '.join(lacking)}.")
    if frame.empty:
        raise ValueError(f"The table of {name} is empty.")
    frame = frame.reset_index(drop=True)
    for column in keys:
        _refuse(frame, frame[column].isna(), name, f"has no {column}", keys)
    for column in (*positive, *fractions, *finite):
        wrong = pd.Series(~np.isfinite(frame[column].to_numpy(float)))
        _refuse(frame, wrong, name, f"has no finite {column}", keys)
    for column in positive:
        wrong = frame[column] <= 0
        _refuse(frame, wrong, name, f"has {column} that is not above 0: no log ratio", keys)
    for column in fractions:
        wrong = (frame[column] < 0) | (frame[column] > 1)
        _refuse(frame, wrong, name, f"has {column} outside 0 to 1", keys)
    _refuse(frame, frame.duplicated([*keys]), name, "is there twice", keys)
    return frame


def _refuse(
    frame: pd.DataFrame, wrong: pd.Series, name: str, told: str, keys: Sequence[str]
) -> None:
    if wrong.any():
        row = frame[wrong].iloc[0]
        where = ", ".join(f"{key} {row[key]}" for key in keys)
        raise ValueError(f"The table of {name}: {where} {told} ({int(wrong.sum())} such rows).")


def both_populations(models: pd.DataFrame, *, attacks: int = 2, benign: int = 3) -> None:
    """Raises ValueError when there are fewer attacks or benign models than these."""
    num_attacks = models.loc[models["attack"] != BENIGN, "attack"].nunique()
    num_benign = int((models["attack"] == BENIGN).sum())
    if num_attacks < attacks or num_benign < benign:
        raise ValueError(
            f"{num_attacks} attacks and {num_benign} benign models: at least {attacks} and "
            f"{benign} are needed to tell an attack's effect from chance."
        )


def labels(frame: pd.DataFrame, *columns: str) -> np.ndarray:
    """One string per row that names its group."""
    out = frame[columns[0]].astype(str)
    for column in columns[1:]:
        out = out + " / " + frame[column].astype(str)
    return out.to_numpy(dtype=object)
