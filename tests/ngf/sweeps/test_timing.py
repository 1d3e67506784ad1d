"""How long a sweep takes is the sum over what was timed here."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from ngf.catalogue import catalogue
from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.runs.folder import ATTEMPTS, CONTROL, RESULT
from ngf.runs.store import Store
from ngf.sweeps.control import pause
from ngf.sweeps.folder import made
from ngf.sweeps.spec import Expansion, Point, SweepSpec
from ngf.sweeps.timing import in_words, left_in_words, seconds_left, seconds_of
from ngf.timing.estimate import cases, time_of
from tests.helpers.run_folders import write_run

TRAINING = TrainSpec(attack=Choice("badnets"))
RACE = PurifySpec(parent=TRAINING.id, lanes=(Choice("sgd"),))
TIMES = {"choose": 0.0, "begin": 0.0, "first": 0.02, "step": 0.01, "image": 1e-4, "steps": 100.0}


def test_runs_are_added_up_as_far_as_they_were_timed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "runs", tmp_path / "no-zoo")
    specs = {one.id: one for one in (TRAINING, RACE)}
    specs["m"] = MeasureSpec(target=f"{RACE.id}:sgd", measurement=Choice("sharpness"))
    assert seconds_of(specs, specs, store) == (0.0, 3)
    facts = catalogue()["data"]["signs"]
    (case,) = cases(RACE, TRAINING.model, facts) or []
    case.keep(TIMES)
    found, unknown = seconds_of(specs, specs, store)
    assert found == pytest.approx(time_of(RACE, TRAINING.model, facts)) and unknown == 2
    assert seconds_of(specs, [TRAINING.id], store) == (0.0, 1)


def test_what_is_left_goes_by_what_its_runs_took(tmp_path) -> None:
    store = Store(tmp_path / "runs", tmp_path / "no-zoo")
    specs = [TrainSpec(seed=seed) for seed in range(6)]
    points = tuple(Point({"seed": spec.seed}, (spec,)) for spec in (*specs, RACE))
    sweep = made(SweepSpec({"kind": "train"}, {"seed": (0,)}), Expansion(points, ()))
    for spec in (*specs, RACE):
        store.submit(spec)
    assert seconds_left(sweep.seen(store)) == (None, 7) and left_in_words(sweep.seen(store)) == ""
    now = time.time()
    for spec, start, end in zip(specs, (1000, 1100, 1200), (1090, 1200, 1320), strict=False):
        folder = write_run(tmp_path / "made", spec, [], done=True)
        shutil.copy(folder / RESULT, store.root / spec.id / RESULT)
        (store.root / spec.id / ATTEMPTS).write_text("1")
        os.utime(store.root / spec.id / ATTEMPTS, (now, start))
        os.utime(store.root / spec.id / RESULT, (now, end))
    store.wake()  # the folders were changed behind its back
    left, unknown = seconds_left(sweep.seen(store))
    assert left == pytest.approx(3 * 100) and unknown == 1, "the median, one after another"
    words = "About 5 min left; 1 run is of a kind of which none has ended yet."
    assert left_in_words(sweep.seen(store)) == words
    # two at a time have taken half as long
    for spec, start, end in zip(specs, (1000, 1000, 1100), (1100, 1100, 1200), strict=False):
        os.utime(store.root / spec.id / ATTEMPTS, (now, start))
        os.utime(store.root / spec.id / RESULT, (now, end))
        (store.root / spec.id / CONTROL).write_text("cancel")  # the folder has changed
    store.wake()
    assert seconds_left(sweep.seen(store))[0] == pytest.approx(300 / 1.5)
    pause(store.runs())
    assert seconds_left(sweep.seen(store)) == (None, 0), "nothing goes on by itself"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            (0.0, 3, 3),
            "How long that takes is not known here yet: `ngf calibrate` times single steps.",
        ),
        ((0.2, 0, 1), "About 1 s one after another."),
        ((600.0, 0, 4), "About 10 min one after another."),
        ((7300.0, 12, 40), "About 2 h one after another; 12 of 40 runs were never timed here."),
    ],
)
def test_a_length_in_words(told, words) -> None:
    assert in_words(*told) == words
