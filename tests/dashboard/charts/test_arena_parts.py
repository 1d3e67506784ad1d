"""What each part of NGF does, drawn from rows that are known."""

from dashboard.charts.arena_parts import parts_chart

ROW = {
    "what": "all layers, not one",
    "attacks": 3,
    "models": 9,
    "asr": -0.2,
    "asr_low": -0.3,
    "asr_high": -0.1,
    "p": 0.01,
    "ca_lost": 0.001,
    "ca_lost_low": -0.001,
    "ca_lost_high": 0.003,
}


def test_a_part_lies_left_of_zero_where_it_takes_away():
    unsure = ROW | {"what": "a guess", "asr": 0.01, "asr_low": -0.1, "asr_high": 0.12, "p": 0.9}
    chart = parts_chart([ROW, unsure])
    (trace,) = chart.figure["data"]
    assert trace["x"] == [-20.0, 1.0] and trace["error_x"]["array"] == [10.0, 11.0]
    assert chart.finding == (
        "All layers, not one: −20.0 points, the most of any part. Not told from no difference: "
        "a guess."
    )
    assert "No part" in parts_chart([unsure]).finding
