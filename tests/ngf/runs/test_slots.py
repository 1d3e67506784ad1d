"""Which runs wait for which."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.runs.slots import share_of_time, slot_of
from ngf.runs.store import Store
from tests.helpers.counting_pipeline import LONG
from tests.helpers.processes import counting, supervised, wait_status

PROBE = Choice("trigger_probe", {"attack": json.dumps({"name": "badnets"})})


def test_each_kind_has_its_slot(tmp_path) -> None:
    store = Store(tmp_path)
    train = store.submit(TrainSpec())
    race = store.submit(PurifySpec(parent=train.id, lanes=(Choice("ngf"),)))
    named = {
        "along_run": f"{race.id}:ngf",
        "hessian_spectrum": train.id,
        "loss_slice": train.id,
        "trigger_probe": train.id,
    }
    found = {
        name: slot_of(MeasureSpec(target=target, measurement=Choice(name)))
        for name, target in named.items()
    }
    assert found == {
        "along_run": "live",
        "hessian_spectrum": "light",
        "loss_slice": "brief",
        "trigger_probe": "brief",
    }
    assert slot_of(train.spec) == slot_of(race.spec) == "heavy"


def test_a_probe_does_not_wait_behind_a_long_measurement(store: Store) -> None:
    train = store.submit(counting(steps=3))
    with supervised(store):
        wait_status(train, "done")
        long = store.submit(
            MeasureSpec(target=train.id, measurement=Choice("hessian_spectrum"), seed=LONG)
        )
        wait_status(long, "running")
        behind = store.submit(MeasureSpec(target=train.id, measurement=Choice("fisher_trace")))
        probe = store.submit(MeasureSpec(target=train.id, measurement=PROBE))
        wait_status(probe, "done")
        assert long.status == "running" and behind.status == "queued"


@pytest.mark.parametrize(("cores", "share"), [(1, 1 / 6), (2, 1 / 3), (6, 1.0), (64, 1.0)])
def test_those_that_follow_take_a_third_of_the_machine_at_most(cores: int, share: float) -> None:
    assert share_of_time(cores) == pytest.approx(share)


@pytest.mark.skipif(sys.platform != "linux", reason="groups of sessions are Linux's")
def test_a_child_that_follows_claims_less_of_its_session_too() -> None:
    """Niceness counts within a session alone, and each child is one of its own."""
    code = (
        "import os; from ngf.runs.child import _step_back; _step_back(19); "
        "print(os.nice(0), open('/proc/self/autogroup').read().split()[-1])"
    )
    if not Path("/proc/self/autogroup").exists():
        pytest.skip("this system has no such groups")
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True
    )
    assert said.stdout.split() == ["19", "19"], said.stderr
