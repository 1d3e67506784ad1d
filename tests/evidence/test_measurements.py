"""The measurements that ship are complete, and a sample of them is measured again."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from evidence import measurements
from ngf.config import MeasureSpec, spec_from_json
from ngf.places import MEASUREMENTS
from ngf.runs.child import execute
from ngf.runs.folder import ARRAYS, RESULT, SPEC
from ngf.runs.store import Store

SHIPPED = sorted(path.parent.name for path in MEASUREMENTS.glob("*/" + RESULT))
MOST_BYTES = 12 * 2**20
# Measured from the weights that ship; those along a way need weights that do not.
AGAIN = ("loss_slice", "hessian_spectrum", "fisher_trace", "sharpness", "loss_line")


def test_all_that_pages_show_first_ship_and_nothing_else() -> None:
    assert measurements.missing() == []
    assert sorted(measurements.specs()) == SHIPPED


def test_they_are_small() -> None:
    size = sum(path.stat().st_size for path in MEASUREMENTS.rglob("*") if path.is_file())
    assert size <= MOST_BYTES


@pytest.mark.parametrize("name", SHIPPED[:: max(1, len(SHIPPED) // 25)])
def test_a_folder_names_what_it_holds(tmp_path, name: str) -> None:
    spec = spec_from_json(json.loads((MEASUREMENTS / name / SPEC).read_text(encoding="utf-8")))
    assert isinstance(spec, MeasureSpec) and spec.id == name
    run = Store(tmp_path).get(name)
    assert run.source == "shipped" and run.status == "done"
    with np.load(MEASUREMENTS / name / ARRAYS) as arrays:
        assert bool(arrays["done"])


def sample() -> list[str]:
    """One of each kind."""
    draw = random.Random(0)
    return [
        draw.choice([name for name in SHIPPED if name.startswith(kind.replace("_", "-"))])
        for kind in AGAIN
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", sample())
def test_measured_again_it_is_the_same(tmp_path, name: str, monkeypatch) -> None:
    """To what another number of threads and single precision change."""
    shipped = Store(tmp_path / "empty").get(name).finished()
    empty = tmp_path / "none"
    empty.mkdir()
    monkeypatch.setattr("ngf.places.MEASUREMENTS", empty)
    store = Store(tmp_path / "runs")
    run = store.submit(measurements.specs()[name][1])
    assert run.source == "user"
    assert execute(run) == "done", run.error
    found = run.finished()
    assert alike(found["values"], shipped["values"]) == []


def alike(found: Mapping[str, Any], shipped: Mapping[str, Any]) -> list[str]:
    """The numbers that differ by more than a hundredth."""
    numbers = {
        name: value
        for name, value in shipped.items()
        if isinstance(value, float) and "seconds" not in name and "stderr" not in name
    }
    assert numbers
    return [
        f"{name}: {found.get(name)} for {value}"
        for name, value in numbers.items()
        if found.get(name) != pytest.approx(value, rel=0.01, abs=1e-4)
    ]
