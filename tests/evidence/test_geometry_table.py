"""The table of sharpness: verdicts, and that it is of enough models."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evidence import geometry_table
from evidence.computing import Failed
from evidence.geometry_table import rows_of, values_of
from evidence.seeds import all_above, all_at_most, all_fell
from ngf.places import ASSETS


def test_all_seeds_have_to_agree() -> None:
    assert all_above([4, 5], [1, 3]) == "yes"
    assert all_above([1, 2], [3, 4]) == "no"
    assert all_above([2, 5], [1, 3]) == all_above([3, 5], [1, 3]) == "mixed"
    assert all_fell({0: 1, 1: 2}, {0: 2, 1: 3}) == "yes"
    assert all_fell({0: 2, 1: 3}, {0: 2, 1: 2}) == "no"
    assert all_fell({0: 1, 1: 3}, {0: 2, 1: 2}) == "mixed"
    assert all_at_most([0.1, 0.0], 0.1) == "yes"
    assert all_at_most([0.2, 0.3], 0.1) == "no"
    assert all_at_most([0.1, 0.3], 0.1) == "mixed"


def file_of(attack: str, seed: int, **lambda_max: float) -> dict:
    """What `evidence.geometry` leaves of one model, on clean images."""
    measured = {
        method: {"clean": {"hessian_spectrum": {"lambda_max": value, "num_hvps": 9}}}
        for method, value in lambda_max.items()
    }
    return {"data": "signs", "attack": attack, "seed": seed, "measured": measured}


def test_rows_have_the_values_of_all_seeds_and_two_verdicts() -> None:
    files = [file_of("none", seed, before=seed + 1.0) for seed in (0, 1)]
    files += [file_of("sig", seed, before=seed + 5.0, ngf=seed + 4.0) for seed in (1, 0)]
    benign, before, after = rows_of(values_of(files))
    assert (benign["mean"], benign["values"], benign["n"]) == (1.5, [1.0, 2.0], 2)
    assert (before["values"], before["sharper_than_benign"]) == ([5.0, 6.0], "yes")
    assert (after["values"], after["smoother_than_before"]) == ([4.0, 5.0], "yes")
    assert {row["measure"] for row in (benign, before, after)} == {"lambda_max"}
    assert "smoother_than_before" not in before and "sharper_than_benign" not in after


def test_what_has_too_few_seeds_is_left_out(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(geometry_table, "GEOMETRY", tmp_path)
    with pytest.raises(Failed, match="python -m evidence geometry"):
        geometry_table.table()
    for attack, seeds in (("none", 3), ("sig", 2)):
        for seed in range(seeds):
            found = file_of(attack, seed, before=1.0) | {"num_images": 9, "environment": {}}
            (tmp_path / f"{attack}-{seed}.json").write_text(json.dumps(found))
    made = geometry_table.table()
    assert [row["attack"] for row in made["rows"]] == ["none"]
    assert (made["num_models"], made["num_images"]) == (5, 9)


def test_the_shipped_table_is_what_its_files_say() -> None:
    assert geometry_table.missing() == []


def test_the_shipped_evidence_is_of_enough_models() -> None:
    found = json.loads((ASSETS / "evidence" / "geometry.json").read_text(encoding="utf-8"))
    assert found["num_images"] == 2000
    for data, attacks in (
        ("signs", ("badnets", "blend", "wanet", "sig")),
        ("fashion_mnist", ("badnets", "blend")),
    ):
        own = [
            row for row in found["rows"] if row["data"] == data and row["measure"] == "lambda_max"
        ]
        for attack in attacks:
            for method in ("before", "ngf", "sgd", "adam"):
                for images in ("clean", "triggered_true", "triggered_target"):
                    row = next(
                        row
                        for row in own
                        if (row["attack"], row["method"], row["images"]) == (attack, method, images)
                    )
                    assert row["n"] >= 3
                    assert np.isfinite(row["mean"]) and row["half"] > 0
