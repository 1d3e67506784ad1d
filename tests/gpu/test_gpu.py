"""Everything on a GPU, against the same on the CPU: `make test-gpu`.

`NGF_DEVICE` says which device; `NGF_DEVICE=cpu make test-gpu` runs the same tests where there is no
GPU, to see that they themselves are right. float32 sums in another order there, so numbers agree to
some digits, and long runs in what they end with.
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ngf import models
from ngf.catalogue import load, names
from ngf.config import Choice, MeasureSpec, PurifySpec, Training, TrainSpec
from ngf.data import Images, to_float
from ngf.data import load as load_data
from ngf.defenses.contract import Problem, Step
from ngf.defenses.fine_tuning.loop import recalibrate
from ngf.environment import device, exact_numerics
from ngf.places import ROOT
from ngf.predictions import AGREEMENT, predict, predict_quickly
from ngf.runs.child import execute
from ngf.runs.store import Store
from tests.helpers import cases
from tests.helpers.attack_view import ready
from tests.helpers.measuring import SHORT, run
from tests.helpers.purifications import short, short_options

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() and os.environ.get("NGF_DEVICE", "auto") == "auto",
        reason="there is no GPU here",
    ),
]
TINY = Training(num_images=240, epochs=1, batch_size=60, min_ca=0.0, min_asr=0.0)


@pytest.fixture(autouse=True)
def where() -> torch.device:
    exact_numerics()
    return device()


@pytest.fixture(scope="module")
def images() -> Images:
    return load_data("signs").test.take(slice(0, 60))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    splits = load_data("signs", num_clean=60)
    torch.manual_seed(0)
    model = models.build("preact_resnet_tiny", 12)
    recalibrate(model, splits.clean)
    return model


@pytest.mark.parametrize("name", names("attacks"))
def test_a_trigger_is_the_same_there(name, images, where):
    attack, clean = ready(name), images.floats()
    there = attack.apply(clean.to(where))
    assert there.device.type == where.type
    torch.testing.assert_close(there.cpu(), attack.apply(clean), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", names("defenses"))
def test_a_defense_stays_there_and_begins_alike(name, network, where):
    splits = load_data("signs", num_clean=60)

    def steps(target: torch.device) -> tuple[torch.nn.Module, list[Step]]:
        model = copy.deepcopy(network).to(target)
        problem = Problem(
            model, splits.clean.to(target), None, 0, splits.source.facts["survives_flip"]
        )
        purification = short(name).purify(problem)
        found = [event for event in purification if isinstance(event, Step)]
        return purification.model, found

    model, there = steps(where)
    _, here = steps(torch.device("cpu"))
    tensors = list(model.state_dict().values())
    assert {tensor.device.type for tensor in tensors} == {where.type}
    assert all(tensor.isfinite().all() for tensor in tensors)
    assert len(there) > 1
    for one, other in zip(there[:2], here[:2], strict=True):
        assert (one.loss is None) == (other.loss is None)
        assert one.loss is None or math.isclose(one.loss, other.loss, rel_tol=1e-3)


@pytest.mark.parametrize("name", names("measurements"))
def test_a_measurement_finds_the_same_there(name, where):
    case = "conv_net"
    model, images, labels = cases.CASES[case]()
    measurement = load("measurements", name)(**SHORT.get(name, {}))

    def last(target: torch.device) -> dict[str, object]:
        subject = copy.deepcopy(model).float().to(target)
        other = cases.purified(copy.deepcopy(model)).float().to(target)
        *_, partial = run(
            measurement, subject, images.float().to(target), labels.to(target), 5, other
        )
        return dict(partial.values)

    here, there = last(torch.device("cpu")), last(where)
    assert here.keys() == there.keys()
    for key, value in here.items():
        if isinstance(value, float) and key != "seconds":
            np.testing.assert_allclose(there[key], value, rtol=2e-2, atol=1e-4, err_msg=key)


def test_predictions_are_the_same_there(network, images, where):
    model = copy.deepcopy(network)
    here, there = predict(model, images.images), predict(model.to(where), images.images.to(where))
    assert (here == there.cpu()).float().mean() >= AGREEMENT
    quick = predict_quickly(model, images.images.to(where))
    assert (quick == there).float().mean() >= AGREEMENT


@pytest.mark.parametrize("name", names("attacks"))
def test_a_training_under_an_attack_ends_there(name, tmp_path, where):
    store = Store(tmp_path / "runs")
    rate = {} if name == "none" else {"poison_rate": 0.05}
    trained = store.submit(TrainSpec(attack=Choice(name, rate), training=TINY))
    assert execute(trained) == "done", trained.error
    assert trained.finished()["environment"]["device"] == where.type


@pytest.mark.parametrize("name", ["badnets", "lira"])
def test_processes_train_together_there(name, tmp_path, where):
    """On one GPU a team of one, which takes all but the sums with others."""
    store = Store(tmp_path / "runs")
    alone, together = (
        store.submit(TrainSpec(attack=Choice(name), training=replace(TINY, processes=count)))
        for count in (1, 2)
    )
    count = min(2, torch.cuda.device_count()) if where.type == "cuda" else 2
    command = [sys.executable, "-m", "ngf.training.agent", str(count), "ngf.training.rank"]
    done = subprocess.run(
        [*command, str(together.path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert execute(alone) == "done", alone.error
    assert together.finished()["environment"]["device"] == where.type
    (here,), (there,) = (
        [event["loss"] for event in run.events() if event["type"] == "epoch"]
        for run in (alone, together)
    )
    assert math.isclose(here, there, rel_tol=1e-2)


def test_all_defenses_race_and_a_measurement_follows(tmp_path, where):
    store = Store(tmp_path / "runs")
    trained = store.submit(TrainSpec(attack=Choice("badnets"), training=TINY))
    assert execute(trained) == "done", trained.error
    lanes = tuple(Choice(name, short_options(name)) for name in names("defenses"))
    purified = store.submit(PurifySpec(parent=trained.id, lanes=lanes, num_clean=60))
    assert execute(purified) == "done", purified.error
    result = purified.finished()
    assert result["environment"]["device"] == where.type
    assert all("after" in lane for lane in result["lanes"].values())
    json.dumps(result)
    measured = store.submit(
        MeasureSpec(
            target=f"{purified.id}:ngf",
            measurement=Choice("hessian_spectrum", {"steps": 6, "probes": 4, "num_images": 32}),
        )
    )
    assert execute(measured) == "done", measured.error


def test_all_networks_of_the_table_predict_there(where):
    x = to_float(load_data("signs").test.images[:8]).to(where)
    for name in models.MODELS:
        model = models.build(name, 12).to(where).eval()
        with torch.no_grad():
            assert model(x).isfinite().all(), name
