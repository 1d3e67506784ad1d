"""A measurement fills its run folder, to the end or until it is stopped."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import execute
from analysis.execute import unhurried
from analysis.result import Partial
from ngf.config import Choice, MeasureSpec, TrainSpec
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


def test_what_follows_a_run_rests_while_that_goes_on(store, monkeypatch) -> None:
    """Two thirds of the time on two cores; not at all when the run has ended."""
    clock = {"worked": 0.0, "now": 0.0}
    monkeypatch.setattr(execute, "usable_cores", lambda: 2)
    monkeypatch.setattr("time.process_time", lambda: clock["worked"])
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    monkeypatch.setattr("time.sleep", lambda s: clock.update(now=clock["now"] + s))
    run = store.submit(TrainSpec())
    checks = []

    def partials():
        for _ in range(3):
            clock["worked"] += 1.0
            clock["now"] += 1.0
            yield Partial(values={}, arrays={}, fraction=1.0, done=True)

    assert len(list(unhurried(partials(), run, lambda: checks.append(1)))) == 3
    assert clock["now"] == pytest.approx(9.0, abs=0.5) and checks, "queued: it is still to come"
    run.control("cancel")
    clock.update(worked=0.0, now=0.0)
    list(unhurried(partials(), run, lambda: None))
    assert clock["now"] == 3.0
