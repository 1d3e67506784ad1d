"""The arena's rows, measured once more: takes some minutes."""

from __future__ import annotations

import random
import statistics

import pytest

from evidence import arena
from evidence.arena import Bench, Trial
from evidence.computing import of_zoo
from ngf.runs.store import Store

CELLS = 20
# On another processor the last bits of a step differ, and a purification may end elsewhere.
NEAR, MOST = 0.05, 0.8


@pytest.mark.slow
def test_cells_drawn_by_chance_come_out_the_same():
    rows = [row for row in arena.rows() if "ca" in row]
    drawn = random.Random(0).sample(rows, CELLS)
    apart: dict[str, list[float]] = {"ca": [], "asr": []}
    for row in sorted(drawn, key=lambda row: row["run"]):
        store = Store()
        again = Bench(store, of_zoo(store, row["run"])).purify(
            Trial(row["method"], row["seed"], row["num_clean"])
        )
        for rate, found in apart.items():
            if row[rate] is not None:
                found.append(abs(again[rate] - row[rate]))
    for rate, found in apart.items():
        assert statistics.median(found) < NEAR / 5, rate
        assert sum(value < NEAR for value in found) >= MOST * len(found), rate
