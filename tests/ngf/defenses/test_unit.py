"""UNIT: bounds only clip, tighten until the tolerance, and cut off what a planted trigger adds."""

from __future__ import annotations

import copy
import io
import shutil
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ngf import models
from ngf.checkpoints.waypoints import waypoint
from ngf.checkpoints.weights import WeightsError, load_attack, load_model
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.data import load as load_data
from ngf.data.images import Images, to_float
from ngf.defenses.contract import Problem
from ngf.defenses.unit import UNIT, activations, first_bounds
from ngf.evaluate import accuracy
from ngf.evaluate import test_set as images_to_measure
from ngf.export.bundle import write_zip
from ngf.export.torch_file import state_dict
from ngf.export.weights import weights_of
from ngf.models.bounds import bounds_of
from ngf.options import SpecError
from ngf.runs.child import execute
from ngf.runs.folder import purified_weights, waypoints
from ngf.runs.store import PurifyRun, Store
from tests.helpers.purifications import finish, short

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CLASSES, SIDE, UNITS = 4, 8, 40


@pytest.mark.parametrize(
    ("network", "some", "count"),
    [
        ("preact_resnet_tiny", ["stage1.block1.bn1", "stage3.block1.bn2", "bn"], 7),
        ("vgg_tiny", ["bn1", "bn6"], 6),
        # of a residual block the first BatchNorm, and what its last ReLU gives
        ("resnet18", ["bn1", "layer1.0.bn1", "layer1.0", "layer4.1"], 17),
        ("efficientnet_b0", ["features.8.1"], 49),
        ("vit_tiny", ["block1.up", "block4.up"], 4),
    ],
)
def test_activations_are_found_by_what_flows(network, some, count):
    found = activations(models.build(network, 12).eval(), IMAGES)
    assert len(found) == count and found.keys() >= set(some)


def test_a_bound_before_a_relu_is_one_on_what_the_relu_gives(problem):
    """All that is bounded at once: no unit gives more than its bound."""
    found = activations(problem.model, IMAGES)
    purification = short("unit").purify(problem)
    finish(purification)
    given = {}
    for name in found:
        purification.model.get_submodule(name).register_forward_hook(
            lambda module, _inputs, out: given.update({module: out})
        )
    purification.model(problem.clean.floats())
    for module, out in given.items():
        assert (out.relu() <= module.bound).all() and (module.bound >= 0).all()
        assert module.bound.shape == out.shape[1:]


def test_a_network_without_activations_is_refused(problem):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 12)).eval()
    with pytest.raises(SpecError, match="has none that it knows"):
        short("unit").purify(replace(problem, model=flat))


def test_too_few_images_are_refused(problem):
    few = replace(problem, clean=problem.clean.take(slice(0, 3)), validation=None)
    with pytest.raises(SpecError, match="needs 4 clean images or more"):
        short("unit").purify(few)


def images(count: int, seed: int) -> Images:
    """Class k is brighter in the k-th quarter; the first pixel is black."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    bright = torch.eye(CLASSES).repeat_interleave(SIDE * SIDE // CLASSES, 1)[labels]
    pixels = 60 + 60 * bright + 40 * torch.randn(count, SIDE * SIDE, generator=rng)
    pixels[:, 0] = 0
    return Images(pixels.clamp(0, 255).to(torch.uint8).view(count, 1, SIDE, SIDE), labels)


@pytest.fixture(scope="module")
def planted() -> Problem:
    """Random features and a classifier fitted to them; the one that speaks most for class 2 also
    sees the first pixel, and when that is white, it is many times as large as it ever was.
    """
    torch.manual_seed(0)
    train = images(400, seed=1)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, UNITS), nn.ReLU(), nn.Linear(UNITS, CLASSES)
    )
    with torch.no_grad():
        features = model[:3](to_float(train.images))
        wanted = nn.functional.one_hot(train.labels, CLASSES).float()
        model[3].weight.copy_(8 * torch.linalg.lstsq(features, wanted).solution.T)
        model[3].bias.zero_()
        weight = model[3].weight
        used = int((weight[2] - weight[[0, 1, 3]].amax(0)).argmax())
        model[1].weight[used, 0] = 60.0
    clean = images(300, seed=2)
    return Problem(model.eval(), clean, None, seed=0)


def test_the_first_bounds_are_mean_and_four_standard_deviations(planted):
    purification = UNIT().purify(planted)
    found = first_bounds(purification.model, purification.names, planted.clean)
    assert list(found) == ["1"], "the layer whose outputs enter the ReLU and nothing else"
    active = planted.model[:3](to_float(planted.clean.images))
    assert torch.allclose(found["1"], active.mean(0) + 4 * active.std(0), rtol=1e-4, atol=1e-5)


def test_what_a_trigger_makes_large_is_cut_off_and_no_weight_changes(planted):
    clean = images(200, seed=4)
    pixels = clean.images.clone()
    pixels[:, 0, 0, 0] = 255
    triggered = Images(pixels, torch.full_like(clean.labels, 2))
    assert accuracy(planted.model, triggered) > 0.99
    purification = UNIT(steps=30, augmentation="weak").purify(planted)
    start = accuracy(planted.model, clean)
    finish(purification)
    assert accuracy(purification.model, triggered) < 0.5
    assert accuracy(purification.model, clean) > start - 0.05
    state = purification.model.state_dict()
    assert state.keys() - planted.model.state_dict().keys() == {"1.bound"}
    assert all(torch.equal(state[k], v) for k, v in planted.model.state_dict().items())


def test_bounds_tighten_as_far_as_the_tolerance_lets_them(planted):
    shares, judged = [], []
    for tolerance in (0.0, 0.05, 0.3):
        purification = UNIT(steps=60, lr=0.04, tolerance=tolerance).purify(planted)
        events = finish(purification)
        left = [event.bounds for event in events]
        assert left == sorted(left, reverse=True) and left[0] == 1
        shares.append(left[-1])
        judged.append(accuracy(purification.model, purification.held))
        assert judged[-1] >= purification.start - tolerance - 1e-9
        assert judged[-1] == purification.after
        assert f"{judged[-1]:.1%} after" in purification.summary()["why"]
    assert shares[0] > shares[1] > shares[2]


def test_no_image_judges_bounds_that_it_had_a_say_in(planted):
    purification = UNIT().purify(planted)
    assert len(purification.held) == len(purification.part.clean) == 150
    own = {image.tobytes() for image in purification.part.clean.images.numpy()}
    assert not own & {image.tobytes() for image in purification.held.images.numpy()}
    assert purification.batches.clean is purification.part.clean


def test_where_none_are_good_the_first_and_mildest_are_left(planted, monkeypatch):
    rates = iter([0.9, 0.5, 0.5, 0.5])
    monkeypatch.setattr("ngf.defenses.unit.accuracy", lambda *_: next(rates))
    purification = UNIT(steps=3).purify(planted)
    finish(purification)
    wanted = first_bounds(UNIT().purify(planted).model, purification.names, purification.part.clean)
    assert torch.equal(purification.model.state_dict()["1.bound"], wanted["1"])
    assert purification.summary()["why"].startswith("No bounds that were tried keep accuracy")


def test_the_weight_of_tightness_follows_good_and_bad_steps(planted, monkeypatch):
    good = [True] * 5 + [False] * 7 + [True] * 5
    rates = iter([0.9, *(0.9 if one else 0.1 for one in good)])
    monkeypatch.setattr("ngf.defenses.unit.accuracy", lambda *_: next(rates))
    purification = UNIT(steps=len(good)).purify(planted)
    weights = [purification.weight for event in purification if event.step]
    assert weights[3] == 1e-3 and weights[4] == pytest.approx(2e-3)
    assert weights[9] == pytest.approx(2e-3 / 2**1.5)
    assert weights[-1] == pytest.approx(2e-3 / 2**0.5)


def test_a_second_time_it_begins_with_bounds_that_are_no_looser(planted):
    first = UNIT(steps=20, augmentation="weak").purify(planted)
    finish(first)
    again = replace(planted, model=copy.deepcopy(first.model))
    second = UNIT(steps=5, augmentation="weak").purify(again)
    assert torch.equal(
        second.model(to_float(planted.clean.images)), first.model(to_float(planted.clean.images))
    )
    found = first_bounds(second.model, second.names, planted.clean)
    assert (found["1"] <= first.model.state_dict()["1.bound"]).all()


@pytest.fixture(scope="module")
def store(store_of_trained) -> Store:
    return store_of_trained


@pytest.fixture(scope="module")
def run(store, trained) -> PurifyRun:
    lane = Choice("unit", {"steps": 3, "batch_size": 24, "tolerance": 1.0, "lr": 0.3})
    run = store.submit(PurifySpec(parent=trained.id, num_clean=60, lanes=(lane,)))
    assert execute(run) == "done", run.error
    return run


def test_the_model_that_is_kept_is_the_one_that_was_measured(store, run, trained):
    loaded = load_model(store, f"{run.id}:unit").model
    splits = load_data("signs", num_clean=60)
    whole = images_to_measure(splits, load_attack(trained))
    assert whole.evaluate(loaded).to_json() == run.result["lanes"]["unit"]["after"]
    assert run.result["lanes"]["unit"]["after"] != run.result["before"]
    last = waypoint(
        run.path / waypoints("unit"), 3, 3, load_model(store, trained.id).model.state_dict()
    )
    assert last.state.keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, last.state[k]) for k, value in loaded.state_dict().items())


def test_what_is_purified_on_from_it_keeps_its_bounds(store, run):
    lane = Choice("sgd", {"steps": 1, "batch_size": 24})
    spec = replace(run.spec, start=f"{run.id}:unit@3", lanes=(lane,))
    fork = store.submit(spec)
    assert execute(fork) == "done", fork.error
    bounds = bounds_of(load_model(store, f"{run.id}:unit").model.state_dict())
    found = bounds_of(load_model(store, f"{fork.id}:sgd").model.state_dict())
    assert found.keys() == bounds.keys() and len(bounds) == 7
    assert all(torch.equal(value, found[name]) for name, value in bounds.items())
    assert fork.result["before"] == run.result["lanes"]["unit"]["after"]


def test_measurements_see_the_bounds_or_say_why_not(store, run):
    target = f"{run.id}:unit"
    few = {"num_images": 4}
    along = Choice("along_run", {**few, "points": 3, "probes": 2, "tolerance": 0.5})
    measured = store.submit(MeasureSpec(target=target, measurement=along))
    assert execute(measured) == "done", measured.error
    losses = [event["loss"] for event in measured.events() if event["type"] == "partial"]
    assert len(set(losses)) > 1, "the network is another one, though its weights are the same"
    line = store.submit(MeasureSpec(target=target, measurement=Choice("loss_line", few)))
    assert execute(line) == "failed"
    assert "clips its activations" in line.error["message"]


def test_bounds_that_do_not_fit_are_refused(store, run, tmp_path):
    folder = tmp_path / run.id
    shutil.copytree(run.path, folder)
    shutil.copytree(store.get(run.spec.parent).path, tmp_path / run.spec.parent)
    weights = load_file(folder / purified_weights("unit"))
    save_file({**weights, "bn.bound": torch.zeros(5)}, folder / purified_weights("unit"))
    with pytest.raises(WeightsError, match="bounds that do not fit the model"):
        load_model(Store(tmp_path), f"{run.id}:unit")


def test_what_is_taken_away_says_what_bounds_are(run):
    file = io.BytesIO()
    write_zip(run, file)
    with zipfile.ZipFile(file) as archive:
        assert "torch.minimum(output, bound)" in archive.read(f"{run.id}/README.txt").decode()
    state = torch.load(io.BytesIO(state_dict(weights_of(run, "unit").read_bytes())))
    assert len(bounds_of(state)) == 7
