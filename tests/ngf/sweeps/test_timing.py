"""How long a sweep takes is the sum over what was timed here."""

from __future__ import annotations

import pytest

from ngf.catalogue import catalogue
from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.runs.store import Store
from ngf.sweeps.timing import in_words, seconds_of
from ngf.timing.estimate import cases, time_of

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


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((0.0, 3, 3), "How long that takes is not known here: `ngf calibrate` times single steps."),
        ((0.2, 0, 1), "About 1 s one after another."),
        ((600.0, 0, 4), "About 10 min one after another."),
        ((7300.0, 12, 40), "About 2 h one after another; 12 of 40 runs were never timed here."),
    ],
)
def test_a_length_in_words(told, words) -> None:
    assert in_words(*told) == words
