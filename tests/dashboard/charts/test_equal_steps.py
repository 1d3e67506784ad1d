"""Steps that are equally long in one sense and not in the other."""

import json

import pytest

from dashboard.charts.equal_steps import equal_steps_chart
from ngf.places import ASSETS

FOUND = json.loads((ASSETS / "evidence" / "equal_steps.json").read_text(encoding="utf-8"))


def test_the_circle_comes_first_and_the_other_curve_when_it_is_asked_for():
    (circle,) = equal_steps_chart(FOUND, predictions=False).figure["data"]
    radii = [(x * x + y * y) ** 0.5 for x, y in zip(circle["x"], circle["y"], strict=True)]
    assert radii == pytest.approx([FOUND["weights"]] * len(radii))
    first, second = equal_steps_chart(FOUND).figure["data"]
    assert first["x"] == circle["x"] and len(second["x"]) == len(FOUND["angle"]) + 1
    assert second["y"][len(FOUND["angle"]) // 4] == pytest.approx(FOUND["length"][18])


def test_the_sentence_has_the_numbers_of_the_file():
    said = equal_steps_chart(FOUND).finding
    assert f"{max(FOUND['kl_of_weights']):.2g} nats" in said
    assert "steps that change them by 0.05 nats are" in said and "1,000 clean test" in said
