"""The charts of a checkup."""

from __future__ import annotations

import json

import numpy as np

from analysis.verdict import DETECTORS
from dashboard.charts.checkup import MOST, checkup_chart, triggers_chart
from dashboard.charts.subject import BACKDOORED, Measured
from tests.helpers.checkups import reference, values


def triggers(classes: int = 5, side: int = 4) -> dict[str, np.ndarray]:
    masks = np.zeros((classes, side, side), np.uint8)
    masks[:, :2] = 255
    masks[2] = 0
    masks[2, 0, 0] = 255
    return {
        "masks": masks,
        "patterns": np.full((classes, side, side, 3), 40, np.uint8),
        "trigger_size": masks.reshape(classes, -1).mean(1) / 255,
        "trigger_success": np.full(classes, 0.99),
        "trigger_index": np.where(np.arange(classes) == 2, 8.0, 0.0),
    }


def test_this_model_stands_beside_the_known_ones_suspicious_to_the_right():
    one = Measured(BACKDOORED, values(latent_index=9.0, smallest_trigger=0.01), {})
    chart = checkup_chart(one, reference())
    benign, backdoored, own = chart.figure["data"]
    names = list(DETECTORS)
    for name in ("latent_index", "smallest_trigger"):
        assert own["x"][names.index(name)] == 1.0, name
    place = names.index("smallest_trigger")  # of 0.2 to 0.6 and 0.1 to 0.9: the low end is right
    assert benign["base"][place] > backdoored["base"][place] >= 0
    assert all(0 <= x <= 1 for trace in (benign, backdoored) for x in trace["base"])
    lines = chart.figure["layout"]["shapes"]
    assert benign["base"][place] + benign["x"][place] < lines[place]["x0"] < 1
    assert "looks backdoored, towards class 3" in chart.finding
    assert [row["Beyond its threshold"] for row in chart.rows].count("Yes") == 2
    json.dumps(chart.figure, allow_nan=False)


def test_what_is_not_comparable_says_so():
    one = Measured(BACKDOORED, values(num_classes=10), {})
    chart = checkup_chart(one, reference())
    assert len(chart.figure["data"][2]["x"]) == 3
    rows = {row["Detector"]: row for row in chart.rows}
    flat = rows[DETECTORS["relative_flatness"].title]
    assert flat["Benign models"] == "not comparable"
    assert "another number of classes" in flat["Beyond its threshold"]
    bare = checkup_chart(one, None)
    assert bare.figure["data"] == [] and len(bare.rows) == len(DETECTORS)


def test_triggers_are_pictures_with_the_one_that_stands_out_first():
    chart = triggers_chart(Measured(BACKDOORED, {}, triggers()))
    (trace,) = chart.figure["data"]
    images = chart.figure["layout"]["images"]
    assert len(images) == len(trace["x"]) == 5 and trace["text"][0] == "2: 8"
    assert all(image["source"].startswith("data:image/png;base64,") for image in images)
    assert images[0]["source"] != images[1]["source"] == images[2]["source"]
    assert chart.finding.startswith("Class 2 takes the smallest trigger")
    assert "6.2 % of the image" in chart.finding and "is 8, above 2." in chart.finding
    assert chart.rows[0]["Class"] == 2


def test_of_many_classes_the_most_suspicious_are_drawn():
    chart = triggers_chart(Measured(BACKDOORED, {}, triggers(classes=40)))
    assert len(chart.figure["layout"]["images"]) == MOST and len(chart.rows) == 40
