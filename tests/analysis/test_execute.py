"""A measurement fills its run folder, to the end or until it is stopped."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import execute
from ngf.config import Choice, MeasureSpec
from ngf.runs.folder import ARRAYS
from ngf.runs.recorder import Cancelled


def submitted(runs, target: str, name: str, **settings):
    return runs[0].submit(MeasureSpec(target=target, measurement=Choice(name, settings)))


@pytest.mark.parametrize("data", ["clean", "triggered_true", "triggered_target"])
def test_a_run_folder_is_filled(runs, data):
    run = submitted(runs, f"{runs[2].id}:sgd-2", "loss_line", points=3, num_images=20, data=data)
    execute.run(run.path)
    partials = [event for event in run.events() if event["type"] == "partial"]
    assert run.status == "done"
    assert [p["done"] for p in partials] == [False] * (len(partials) - 1) + [True]
    values = run.result["values"]
    assert values["n"] == 20
    assert values["data"] == data
    assert values["length"] > 0
    assert values["loss_end"] == partials[-1]["loss_end"]
    assert run.result["environment"]["torch"]
    with np.load(run.path / ARRAYS) as arrays:
        assert bool(arrays["done"])
        assert arrays["t"].shape == arrays["loss"].shape
    assert not list(run.path.glob(".arrays*.tmp"))


def test_a_cancelled_measurement_keeps_what_it_has(runs):
    run = submitted(runs, runs[1].id, "loss_slice", num_images=8)
    run.control("cancel")
    with pytest.raises(Cancelled):
        execute.run(run.path)
    assert run.result is None
    with np.load(run.path / ARRAYS) as arrays:
        assert not arrays["done"]
        assert 0 < arrays["fraction"] < 1
        assert np.isfinite(arrays["loss"]).all()
