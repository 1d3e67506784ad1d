"""What the chart of a training says."""

from __future__ import annotations

from dashboard.charts.training import training_chart
from tests.helpers.run_folders import epoch_events


def test_training_finding() -> None:
    events = epoch_events(3)
    assert training_chart(events).finding.startswith(
        "After epoch 3 of 20 the model is right on 76.9 % of clean"
    )
    benign = [{**event, "asr": None, "ra": None} for event in events]
    assert (
        training_chart(benign).finding
        == "After epoch 3 of 20 the model is right on 76.9 % of clean test images."
    )
    bare = [{"type": "epoch", "step": 1, "steps": 9, "loss": 1.5, "lr": 0.1}]
    assert training_chart(bare).finding == "After epoch 1 of 9 the training loss is 1.5."
