"""Methods of the tables: names and marks."""

from __future__ import annotations

from dashboard.charts.method import lane_of, method_marks, method_title
from dashboard.charts.style import METHODS, MODELS


def test_names() -> None:
    assert method_title("ngf, one layer") == "NGF, one layer"
    assert method_title("gradient, all layers") == "Gradient at equal KL, all layers"
    assert method_title("ngf as released") == "NGF as released"
    assert method_title("before") == "Backdoored"
    assert lane_of("a new idea, twice") == "a_new_idea"


def test_one_defense_has_one_color_and_all_layers_are_hollow() -> None:
    names = ["before", "ngf, one layer", "ngf, all layers", "sgd, all layers", "ngf as released"]
    marks = method_marks(names)
    assert marks["before"] == MODELS["backdoored"]
    one, every = marks["ngf, one layer"], marks["ngf, all layers"]
    assert one == METHODS["ngf"] and every.color == one.color
    assert every.symbol == f"{one.symbol}-open"
    assert marks["sgd, all layers"] == METHODS["sgd"], "alone, it has the defense's own"
    assert marks["ngf as released"] == METHODS["ngf_as_released"]
