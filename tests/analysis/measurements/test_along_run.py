"""Curvature along a run: at the steps that were kept, equal to what is measured on those
weights alone.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from analysis.execute import path_of
from analysis.measurements.along_run import AlongRun
from ngf.checkpoints.waypoints import Waypoint, kept_steps
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.options import SpecError
from ngf.runs.child import execute
from ngf.runs.folder import ARRAYS
from ngf.runs.store import Store
from tests.helpers import cases, oracles

SHORT = {"num_images": 12, "probes": 2, "points": 3}


@pytest.fixture(scope="module")
def store(store_of_trained) -> Store:
    return store_of_trained


@pytest.fixture(scope="module")
def raced(store, trained):
    small = {"steps": 4, "batch_size": 32}
    run = store.submit(
        PurifySpec(
            parent=trained.id,
            num_clean=60,
            lanes=(Choice("ngf", {**small, "layer": "linear"}), Choice("sgd", small)),
        )
    )
    assert execute(run) == "done", run.error
    return run


def measured(store: Store, target: str):
    run = store.submit(MeasureSpec(target=target, measurement=Choice("along_run", SHORT)))
    execute(run)
    return run


@pytest.mark.parametrize("lane", ["ngf", "sgd"])
def test_a_purification_is_measured_from_its_start_to_its_end(store, raced, lane):
    run = measured(store, f"{raced.id}:{lane}")
    assert run.result and run.result["complete"], run.error
    with np.load(run.path / ARRAYS) as arrays:
        assert arrays["step"].tolist() == [0, *sorted(kept_steps(4))]
        assert arrays["slice"].shape == (5, 3) and (arrays["lambda_max"] > 0).all()
        assert arrays["distance_from_start"][0] == 0 and arrays["distance_from_start"][-1] > 0


def test_a_training_is_measured_from_its_random_weights_on(store, trained):
    run = measured(store, trained.id)
    assert run.result["complete"], run.error
    with np.load(run.path / ARRAYS) as arrays:
        assert arrays["step"].tolist() == [0, 1, 2]
        assert arrays["loss"][-1] < arrays["loss"][0]


def test_both_lanes_start_from_the_same_point(store, raced):
    starts = []
    for lane in ("ngf", "sgd"):
        with np.load(measured(store, f"{raced.id}:{lane}").path / ARRAYS) as arrays:
            starts.append(
                [arrays[name][0] for name in ("lambda_max", "trace", "fisher_trace", "loss")]
            )
    assert starts[0] == starts[1]


def test_a_run_without_kept_weights_says_what_to_do(store, raced, tmp_path):
    copied = Store(tmp_path)
    for path in store.root.iterdir():
        if path.is_dir():
            shutil.copytree(path, tmp_path / path.name, ignore=shutil.ignore_patterns("path"))
    with pytest.raises(SpecError, match="kept no weights on its way"):
        path_of(copied.get(raced.id), "ngf", torch.nn.Linear(1, 1), lambda: None)


def test_each_step_is_the_dense_hessian_of_its_weights():
    model, images, labels = cases.conv_net()
    states = [model.state_dict(), cases.purified(model).state_dict()]
    path = [
        Waypoint(step, 1, {name: value.clone() for name, value in state.items()})
        for step, state in enumerate(states)
    ]
    *_, last = AlongRun(tolerance=1e-6, probes=50).measure(model, images, labels, seed=0, path=path)
    for k, state in enumerate(states):
        at = cases.conv_net()[0]
        at.load_state_dict(state)
        dense = oracles.dense_hessian(at, images, labels)
        assert last.arrays["lambda_max"][k] == pytest.approx(
            float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-5
        )
        assert (
            abs(last.arrays["trace"][k] - float(dense.trace()))
            < 5 * last.arrays["trace_stderr"][k] + 1e-9
        )
        assert last.arrays["loss"][k] == pytest.approx(
            oracles.loss_and_accuracy(at, at.state_dict(), images, labels)[0], rel=1e-9
        )


def test_an_unfinished_path_is_marked_partial():
    model, images, labels = cases.conv_net()
    path = [Waypoint(step, 5, model.state_dict()) for step in (0, 2)]
    partials = list(AlongRun(probes=2, points=3).measure(model, images, labels, seed=0, path=path))
    assert [partial.done for partial in partials] == [False, False]
    assert partials[-1].arrays["step"].tolist() == [0, 2]
