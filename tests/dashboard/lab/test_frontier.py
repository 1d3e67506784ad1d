"""What the Lab shows of the sweeps of a model."""

from __future__ import annotations

from dashboard.lab.frontier import caption, ended
from tests.helpers.purification_rows import HOW, file


def test_only_sweep_and_rule_are_shown_and_divergences_are_counted() -> None:
    found = file("badnets", 0, seeds=2)
    lost = found["rows"][-1] | {"how": "sweep", "diverged": 4}
    found["rows"].append(lost)
    rows = ended(found["rows"])
    assert {row["how"] for row in rows} == {"sweep", "rule"} and lost not in rows
    order = list(dict.fromkeys(row["method"] for row in rows))
    assert order[: len(HOW["sweep"])] == list(HOW["sweep"])
    told = caption(found, rows, 3)
    assert "2 purification seeds along the sweep" in told and "500 clean images in all" in told
    assert "3 points below 85 % clean accuracy are left out." in told
    assert "1 purifications diverged and have no point." in told
    assert "diverged" not in caption(file("badnets", 0), rows, 0)
