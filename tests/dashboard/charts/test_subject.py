"""How the models that are measured are drawn."""

from __future__ import annotations

from dashboard.charts.evidence import SUBJECTS
from dashboard.charts.style import METHODS, MODELS, lane_mark
from dashboard.charts.subject import BACKDOORED, BENIGN, Subject


def test_a_purified_model_is_drawn_as_its_method() -> None:
    for lane, mark in METHODS.items():
        assert Subject("purified", lane).mark == lane_mark(lane) == mark
    assert (BENIGN.mark, BACKDOORED.mark) == (MODELS["benign"], MODELS["backdoored"])
    assert {name: subject.mark for name, subject in SUBJECTS.items()} == {
        "before": MODELS["backdoored"],
        **{name: METHODS[name] for name in ("ngf", "sgd", "adam")},
    }
