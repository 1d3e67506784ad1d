"""Models of the zoo on one axis, attacks one below the other."""

from __future__ import annotations

from dashboard.charts.evidence import SUBJECTS, attack_axis, marks, method_title


def test_each_value_has_a_mark_in_the_row_of_its_attack() -> None:
    found = {("badnets", "before"): [4.0, 5.0], ("blend", "ngf"): [3.0]}
    traces = marks(found, {"badnets": "BadNets (patch)", "blend": "Blend"}, str)
    assert [trace["name"] for trace in traces] == [method_title(name) for name in SUBJECTS]
    before, ngf, *_ = traces
    assert before["x"] == [4, 5] and {round(y) for y in before["y"]} == {0}
    assert ngf["x"] == [3] and round(ngf["y"][0]) == 1
    assert before["customdata"][1] == "BadNets (patch), Backdoored, seed 1: 5.0"
    assert attack_axis(["badnets", "blend"])["ticktext"] == ["BadNets", "Blend"]
