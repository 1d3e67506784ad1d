"""Made-up data that charts are drawn of, and a chart of each kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from dashboard.charts.bars import Bar, measure_bars
from dashboard.charts.chart import Chart
from dashboard.charts.frontier import frontier_chart
from dashboard.charts.layers import layer_chart
from dashboard.charts.loss_line import line_chart
from dashboard.charts.loss_slice import Walk, slice_chart
from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.spectrum import Spectrum, spectrum_chart
from dashboard.charts.subject import BACKDOORED, Subject
from dashboard.charts.training import training_chart
from ngf.config import Choice, PurifySpec
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events

# Titles of attacks by their names.
ATTACKS = {"none": "None", "badnets": "BadNets (patch)", "blend": "Blend (noise over all)"}

# Events of a purification that chooses its layer.
LAYERS = [
    {"type": "layer", "lane": "ngf", "layer": name, "score": score}
    for name, score in (("stem", 0.2), ("stage2.block1.conv2", 8.25), ("linear", 14.1))
]
CHOSEN = {
    "type": "chosen",
    "lane": "ngf",
    "layer": "linear",
    "lr": 0.01,
    "why": "It has the largest score.",
}

# What methods reach along a sweep of strengths, twice, and by rule.
POINTS = [
    {
        "method": method,
        "how": how,
        "strength": strength,
        "seed": seed,
        "ca": 0.99 - 10 * strength,
        "asr": asr + 0.02 * seed,
    }
    for method, scale in (("ngf, one layer", 1.0), ("sgd, all layers", 0.5))
    for how, strength, asr in (
        ("sweep", 0.001, 0.9),
        ("sweep", 0.003, 1 - 0.98 * scale),
        ("rule", 0.002, 1 - 0.9 * scale),
    )
    for seed in (0, 1)
]

# Measured: the model purified by NGF, with the backdoored one beside it.
NGF = Subject("purified", "ngf")
SLICES = [
    Walk(
        subject,
        "clean",
        distance=[-0.5, 0.0, 0.5],
        mean=[rise + 0.1, 0.1, rise + 0.1],
        low=[rise, 0.1, rise],
        high=[rise + 0.4, 0.1, rise + 0.4],
    )
    for subject, rise in ((BACKDOORED, 4.0), (NGF, 0.5))
]
LINE = Walk(NGF, "clean", [0.0, 0.5, 1.0], *[[0.1, 2.1, 0.2]] * 3)
SPECTRA = [
    Spectrum(
        subject,
        grid=[-1.0, 0.0, 1.0, top / 2, top],
        density=[1e-3, 1.0, 0.1, 1e-6, 1e-2],
        eigenvalues=[0.0, 1.0, top],
        lambda_max=top,
        lambda_max_error=2.0,
    )
    for subject, top in ((BACKDOORED, 400.0), (NGF, 20.0))
]
BARS = [Bar(BACKDOORED, "λmax", 400.0, 9.0), Bar(NGF, "λmax", 20.0, 0.5)]


def plane(scale: float = 1.0, known: float = 1.0, planes: int = 1) -> dict[str, np.ndarray]:
    """Arrays of `loss_plane`: a bowl on 9 x 7 cells, of which the share `known` is measured."""
    a, b = np.linspace(-0.5, 0.5, 9), np.linspace(-0.5, 0.5, 7)
    loss = 0.1 + scale * (8 * a[None, :] ** 2 + 4 * b[:, None] ** 2)
    measured = (np.arange(loss.size).reshape(loss.shape) < known * loss.size).astype(np.uint8)
    return {
        "a": a,
        "b": b,
        "loss": np.stack([loss * (i + 1) for i in range(planes)]),
        "rate": np.stack([np.exp(-loss)] * planes),
        "known": measured,
        "points": np.zeros((1, 2)),
        "point_names": np.array(["center"]),
    }


# Values of `loss_plane`, to the arrays of `plane`.
PLANE = {
    "plane": "random",
    "a_unit": "length of each filter",
    "b_unit": "length of each filter",
    "n": 256,
    "lambda_a": None,
    "lambda_b": None,
    "data": "clean",
}

# Purifications by a defense that prunes, and events of one that fine-tunes beside it.
PRUNING = PurifySpec(parent=TRAIN.id, lanes=(Choice("some_pruning"),))
BESIDE = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"), Choice("some_pruning")))
TUNING = [event for event in race_events() if event["lane"] == "ngf"]


def pruning(steps: int = 4, lane: str = "some_pruning") -> list[dict[str, Any]]:
    """Steps of a defense that prunes: measured after every other one."""
    events = []
    for k in range(steps + 1):
        event: dict[str, Any] = {
            "type": "step",
            "lane": lane,
            "step": k,
            "steps": 4,
            "loss": None,
            "share_pruned": 0.1 * k,
            "units": 64,
            "validation": None if k == 0 else 0.99 - 0.01 * k,
        }
        if k % 2 == 0:
            event |= {"ca": 0.99 - 0.01 * k, "asr": 1 - 0.2 * k, "ra": 0.2 * k}
        events.append(event)
    return events


# A chart of each kind, by its name.
FULL: dict[str, Chart] = {
    "race": race_chart(RACE, race_events()),
    "training": training_chart(epoch_events()),
    "internals": internals_chart(RACE, race_events()),
    "layers": layer_chart([*LAYERS, CHOSEN]),
    "frontier": frontier_chart(POINTS),
    "slice": slice_chart(SLICES),
    "line": line_chart([LINE]),
    "spectrum": spectrum_chart(SPECTRA),
    "bars": measure_bars(BARS),
}
