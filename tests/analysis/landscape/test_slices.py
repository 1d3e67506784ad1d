"""Slices and lines against naive loops, the contract of all measurements, and their run folders."""

from __future__ import annotations

import copy
import itertools
import json
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from analysis import __main__ as command
from analysis import execute
from analysis.measurements.loss_line import LossLine
from analysis.measurements.loss_slice import LossSlice, filter_normalized
from analysis.result import Partial
from ngf.catalogue import load, names
from ngf.checkpoints.weights import save_weights
from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.models import build
from ngf.options import SpecError
from ngf.runs.folder import ARRAYS, RESULT, WEIGHTS, purified_weights
from ngf.runs.recorder import Cancelled
from ngf.runs.store import Store
from tests.helpers import cases, oracles

pytestmark = pytest.mark.usefixtures("one_thread")

MEASUREMENTS = names("measurements")
# Options that keep the contract test short; a measurement not named here runs with its defaults.
SHORT = {
    "hessian_spectrum": {"steps": 6, "probes": 4, "vectors": 2},
    "fisher_trace": {"draws": 4},
    "loss_slice": {"points": 7},
    "loss_line": {"points": 7},
    "loss_plane": {"points": 5},
    "loss_bend": {"points": 5, "steps": 4},
    "fisher_spectrum": {"steps": 6, "probes": 4},
    "sharpness": {"steps": 6, "probes": 4, "draws": 3},
    "rescaling": {"points": 3, "steps": 5, "probes": 2},
}
# Values that stay None for these options.
UNKNOWN = {"loss_plane": {"lambda_a", "lambda_b"}}
# Cases that a measurement is made for, where that is not all of them; it says so on the others.
MADE_FOR = {"rescaling": {"conv_net"}}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- the contract


def run(measurement, model, images, labels, seed, reference):
    """`measure` with what the measurement says that it needs, as the executor calls it."""
    given = {"reference": reference} if measurement.needs().reference else {}
    return measurement.measure(model, images, labels, seed=seed, **given)


@pytest.mark.parametrize("case", cases.CASES)
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_keeps_its_promises(name, case):
    model, images, labels = cases.CASES[case]()
    reference = cases.purified(model)
    if case not in MADE_FOR.get(name, cases.CASES):
        with pytest.raises(ValueError, match="Measure a model with"):
            list(run(load("measurements", name)(), model, images, labels, 5, reference))
        return
    model.train()  # the mode is the caller's, too
    before = [copy.deepcopy(m.state_dict()) for m in (model, reference)]
    flags = [p.requires_grad for p in model.parameters()]
    state = torch.get_rng_state()
    measurement = load("measurements", name)(**SHORT.get(name, {}))

    def measure() -> list[Partial]:
        return list(run(measurement, model, images, labels, 5, reference))

    partials = measure()
    assert len(partials) > 1
    assert [p.done for p in partials] == [False] * (len(partials) - 1) + [True]
    fractions = [p.fraction for p in partials]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0
    assert fractions[-1] == 1
    for partial in partials:
        json.dumps(dict(partial.values), allow_nan=False)
        assert partial.values["n"] == len(images)
        assert partial.values["batch_norm"] == "eval"
        assert partial.values["data"] == "clean"
        assert partial.values["seed"] == 5
        for key, array in partial.arrays.items():
            assert isinstance(array, np.ndarray), key
            assert array.dtype.kind == "U" or np.isfinite(array).all(), key
    assert {key for key, value in partials[-1].values.items() if value is None} <= UNKNOWN.get(
        name, set()
    )

    for m, old in zip((model, reference), before, strict=True):
        for key, value in m.state_dict().items():
            assert torch.equal(value, old[key]), key
        assert all(p.grad is None for p in m.parameters())
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(torch.get_rng_state(), state)  # only the seed decides

    for first, again in zip(partials, measure(), strict=True):
        for key in first.arrays:
            np.testing.assert_array_equal(first.arrays[key], again.arrays[key])


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_partial_results_are_frozen_and_can_be_dropped(name):
    model, images, labels = cases.conv_net()
    stream = run(load("measurements", name)(), model, images, labels, 0, model)
    partial = next(stream)
    with pytest.raises(AttributeError):
        partial.done = True
    stream.close()
    assert not partial.done


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_says_what_is_wrong(name):
    model, images, labels = cases.conv_net()

    def measure(net=model, x=images, y=labels):
        return next(iter(run(load("measurements", name)(), net, x, y, 0, model)))

    with pytest.raises(ValueError, match="no images"):
        measure(x=images[:0], y=labels[:0])
    with pytest.raises(ValueError, match="4 classes"):
        measure(y=labels + 4)
    broken = copy.deepcopy(model)
    broken.linear.weight.data[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"linear.weight are not finite"):
        measure(net=broken)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_one_image_is_enough(name):
    model, images, labels = cases.conv_net()
    measurement = load("measurements", name)(**SHORT.get(name, {}))
    *_, partial = run(measurement, model, images[:1], labels[:1], 0, cases.purified(model))
    json.dumps(dict(partial.values), allow_nan=False)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_option_is_described_and_checked(name):
    cls = load("measurements", name)
    assert {"num_images", "data"} <= {item.name for item in fields(cls)}
    for item in fields(cls):
        assert item.metadata["help"].endswith("."), item.name
    with pytest.raises(SpecError, match="num_images = 0 is out of range"):
        cls(num_images=0)
    with pytest.raises(SpecError, match="Allowed: clean, triggered_true, triggered_target"):
        cls(data="nonsense")


# Slices


@pytest.mark.parametrize("case", ["conv_net", "residual_net", "one_layer"])
def test_directions_are_as_long_as_the_filters(case):
    model, _, _ = cases.CASES[case]()
    direction = filter_normalized(model, generator())
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert not direction[name].any(), name
            continue
        for row, filter in zip(direction[name], weight, strict=True):
            assert float(row.norm()) == pytest.approx(float(filter.detach().norm()), rel=1e-12)


def test_a_slice_is_the_naive_loop():
    model, images, labels = cases.conv_net()
    *_, partial = LossSlice(directions=2, points=7, reach=0.6).measure(
        model, images, labels, seed=4
    )
    arrays, rng = partial.arrays, generator(4)
    np.testing.assert_allclose(arrays["distance"], np.linspace(-0.6, 0.6, 7), atol=1e-15)
    for k in range(2):
        direction = filter_normalized(model, rng)
        for m, distance in enumerate(arrays["distance"]):
            state = {
                key: value + distance * direction[key] if key in direction else value
                for key, value in model.state_dict().items()
            }
            loss, ca = oracles.loss_and_accuracy(model, state, images, labels)
            assert arrays["loss"][k, m] == pytest.approx(loss, abs=1e-12)
            assert arrays["ca"][k, m] == ca
    np.testing.assert_allclose(arrays["mean"], arrays["loss"].mean(0))
    assert (arrays["low"] <= arrays["mean"]).all()
    assert (arrays["mean"] <= arrays["high"]).all()
    assert arrays["loss"][0, 3] == arrays["loss"][1, 3] == partial.values["loss"]


def test_a_slice_comes_coarse_to_fine():
    model, images, labels = cases.one_layer()
    for points in (3, 4, 5, 9, 21):
        partials = list(
            LossSlice(points=points, directions=1).measure(model, images, labels, seed=0)
        )
        for early, late in itertools.pairwise(partials):
            assert (np.diff(late.arrays["distance"]) > 0).all()
            assert set(early.arrays["distance"]) < set(late.arrays["distance"])
        assert len(partials[-1].arrays["distance"]) == 2 * (points // 2) + 1
        np.testing.assert_allclose(partials[1].arrays["distance"], [-0.5, 0, 0.5])


def test_loss_and_its_error_are_over_the_images():
    model, images, labels = cases.conv_net()
    partial = next(LossSlice().measure(model, images, labels, seed=0))
    with torch.no_grad():
        losses = nn.functional.cross_entropy(
            copy.deepcopy(model).eval()(images), labels, reduction="none"
        )
    assert partial.values["loss"] == pytest.approx(float(losses.mean()), rel=1e-12)
    assert partial.values["loss_stderr"] == pytest.approx(float(losses.std()) / 11**0.5, rel=1e-12)


def test_nothing_to_move_is_said():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="no linear or convolution weights"):
        next(LossSlice().measure(net, torch.rand(4, 3, 8, 8), torch.arange(4) % 3, seed=0))


# Lines


@pytest.mark.parametrize("case", ["conv_net", "residual_net", "no_batch_norm"])
def test_a_line_is_the_naive_loop(case):
    model, images, labels = cases.CASES[case]()
    start, end = cases.purified(model), model
    *_, partial = LossLine(points=5).measure(end, images, labels, seed=0, reference=start)
    arrays = partial.arrays
    np.testing.assert_allclose(arrays["t"], [0, 0.25, 0.5, 0.75, 1])
    for m, t in enumerate(arrays["t"]):
        state = {
            key: (1 - t) * a + t * end.state_dict()[key] if a.is_floating_point() else a
            for key, a in start.state_dict().items()
        }
        loss, ca = oracles.loss_and_accuracy(model, state, images, labels)
        assert arrays["loss"][m] == pytest.approx(loss, abs=1e-12)
        assert arrays["ca"][m] == ca
    assert partial.values["loss_start"] == arrays["loss"][0]
    assert partial.values["loss_end"] == arrays["loss"][-1]
    square = sum(
        float((p - q).detach().square().sum())
        for p, q in zip(start.parameters(), end.parameters(), strict=True)
    )
    assert partial.values["length"] == pytest.approx(square**0.5)


def test_a_line_in_the_last_layer_has_no_barrier():
    model, images, labels = cases.conv_net()
    other = copy.deepcopy(model)
    other.linear.weight.data += 0.7 * torch.randn(
        other.linear.weight.shape, generator=generator(), dtype=torch.float64
    )
    *_, partial = LossLine().measure(model, images, labels, seed=0, reference=other)
    assert partial.values["barrier"] == pytest.approx(0, abs=1e-12)
    assert (np.diff(partial.arrays["loss"], 2)[2:-2] > -1e-12).all()  # convex


def test_a_line_needs_two_like_models():
    model, images, labels = cases.conv_net()
    with pytest.raises(ValueError, match="A line needs two models"):
        next(LossLine().measure(model, images, labels, seed=0))
    with pytest.raises(ValueError, match="differ in their layers"):
        next(LossLine().measure(model, images, labels, seed=0, reference=cases.residual_net()[0]))


# Run folders


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A store with a training and its purification, both with random weights."""
    root = tmp_path_factory.mktemp("measure")
    store = Store(root / "runs", root / "zoo")
    torch.manual_seed(0)
    model = build("preact_resnet_tiny", 12)
    trained = store.submit(TrainSpec(attack=Choice("badnets")))
    save_weights(model, trained.path / WEIGHTS)
    purified = store.submit(PurifySpec(parent=trained.id, lanes=(Choice("sgd"), Choice("sgd"))))
    for lane, factor in (("sgd", 1.1), ("sgd-2", 0.9)):
        model.linear.weight.data *= factor
        save_weights(model, purified.path / purified_weights(lane))
    for run in (trained, purified):
        (run.path / RESULT).write_text("{}")
    return store, trained, purified


def submitted(runs, target: str, name: str, **settings):
    return runs[0].submit(MeasureSpec(target=target, measurement=Choice(name, settings)))


@pytest.mark.parametrize("data", ["clean", "triggered_true", "triggered_target"])
def test_a_run_folder_is_filled(runs, data):
    run = submitted(runs, f"{runs[2].id}:sgd-2", "loss_line", points=3, num_images=20, data=data)
    execute.run(run.path)
    partials = [event for event in run.events() if event["type"] == "partial"]
    assert run.status == "done"
    assert [p["done"] for p in partials] == [False] * (len(partials) - 1) + [True]
    values = run.result["values"]
    assert values["n"] == 20
    assert values["data"] == data
    assert values["length"] > 0
    assert values["loss_end"] == partials[-1]["loss_end"]
    assert run.result["environment"]["torch"]
    with np.load(run.path / ARRAYS) as arrays:
        assert bool(arrays["done"])
        assert arrays["t"].shape == arrays["loss"].shape
    assert not list(run.path.glob(".arrays-*"))


def test_the_images_are_those_of_the_attack(runs):
    from ngf.catalogue import build as plugin
    from ngf.checkpoints.weights import load_attack
    from ngf.data import load as load_data

    splits, attack = load_data("signs"), load_attack(runs[1])
    clean, _ = execute.select(splits, attack, "clean", 50, 3)
    again, _ = execute.select(splits, attack, "clean", 50, 3)
    assert torch.equal(clean, again)
    assert clean.dtype == torch.float32
    assert 0 <= clean.min() <= clean.max() <= 1
    triggered, true = execute.select(splits, attack, "triggered_true", 50, 3)
    same, wanted = execute.select(splits, attack, "triggered_target", 50, 3)
    assert torch.equal(triggered, same)
    assert (wanted == attack.target).all()
    assert (true != attack.target).all()
    everything, _ = execute.select(splits, attack, "clean", 10**6, 3)
    assert len(everything) == len(splits.test)
    with pytest.raises(SpecError, match="without an attack"):
        execute.select(splits, plugin("attacks", Choice("none")), "triggered_true", 50, 3)


def test_a_cancelled_measurement_keeps_what_it_has(runs):
    run = submitted(runs, runs[1].id, "loss_slice", num_images=8)
    run.control("cancel")
    with pytest.raises(Cancelled):
        execute.run(run.path)
    assert run.result is None
    with np.load(run.path / ARRAYS) as arrays:
        assert not arrays["done"]
        assert 0 < arrays["fraction"] < 1
        assert np.isfinite(arrays["loss"]).all()


def test_the_command_line(runs, monkeypatch, capsys):
    monkeypatch.setenv("NGF_RUNS", str(runs[0].root))
    short = ["--num-images", "8", "--set", "draws=3"]
    assert command.main([runs[1].id, "fisher_trace", "--json", *short]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["values"]["num_draws"] == 3
    assert out["values"]["n"] == 8
    assert out["error"] is None
    assert (
        command.main([runs[1].id, "fisher_trace", *short]) == 0
    )  # the same run, not measured again
    assert f"fisher_trace           {out['values']['fisher_trace']:.6g}" in capsys.readouterr().out
    assert command.main([runs[1].id, "loss_line", "--num-images", "8"]) == 1  # no parent
    assert "A line needs two models" in capsys.readouterr().err
    assert command.main([runs[1].id, "fisher_trace", "--data", "dirty"]) == 2
    assert "Allowed: clean, triggered_true, triggered_target" in capsys.readouterr().err
    assert command.main([runs[1].id, "sharpness_of_mind"]) == 2
    assert "hessian_spectrum" in capsys.readouterr().err
    assert command.main([runs[1].id]) == 2
    assert command.main(["no-such-run", "fisher_trace"]) == 3
    capsys.readouterr()
    assert command.main(["list"]) == 0
    assert "draws = 20: Random draws for each image" in capsys.readouterr().out


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom analysis.__main__ import main\ntry:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "import analysis.curvature.density, analysis.result\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "RUN[:LANE]" in done.stdout
    assert "loss_line" in done.stdout
