"""What a run does before its first step, in words."""

from ngf.runs.follow import line
from ngf.runs.phases import choosing


def test_a_choice_is_counted_where_its_end_is_known():
    layer = {"what": "layer", "tried": "stage1.conv", "number": 3, "total": 10}
    assert choosing(layer) == "choosing the layer, 3 of 10 (stage1.conv)"
    assert choosing({"what": "layer", "tried": None, "number": 0, "total": 10}) == (
        "choosing the layer among 10"
    )
    assert choosing({"what": "layer"}) == "choosing the layer"
    radius = {"what": "trust_region", "tried": 0.03, "number": 2, "total": None}
    assert choosing(radius) == "choosing the radius, 0.03 is tried (number 2)"


def test_the_terminal_says_it_too():
    event = {"type": "choosing", "lane": "ngf", "what": "lr", "tried": 3e-05, "number": 1}
    assert line(event) == "ngf choosing the learning rate, 3e-05 is tried (number 1)"
