"""What every measurement promises, held for all files of the folder."""

from __future__ import annotations

import copy
import json
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from analysis.curvature import gradients
from analysis.curvature.last_layer import LastLayer
from analysis.measurements.batch_eigenvalue import BatchEigenvalue
from analysis.measurements.fisher_spectrum import FisherSpectrum
from analysis.measurements.fisher_trace import FisherTrace
from analysis.measurements.hessian_spectrum import HessianSpectrum
from analysis.measurements.input_curvature import InputCurvature
from analysis.measurements.rescaling import Rescaling
from analysis.measurements.sharpness import Sharpness
from analysis.model_under_test import parameters_of
from analysis.result import Partial
from ngf.catalogue import load, names
from ngf.options import SpecError
from tests.helpers import cases, oracles
from tests.helpers.measuring import SHORT, run
from tests.helpers.oracles import problem
from tests.helpers.streams import last

MEASUREMENTS = names("measurements")
# Values that stay None for these options.
UNKNOWN = {"loss_plane": {"lambda_a", "lambda_b"}}
# Cases that a measurement is made for, where that is not all of them; it says so on the others.
MADE_FOR = {"rescaling": {"conv_net"}}


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


# Measurements that leave no trace wherever they are stopped.
STOPPED = [
    Sharpness(steps=14, probes=8, draws=4),
    FisherSpectrum(method="lanczos", steps=6, probes=4),
    FisherSpectrum(method="gram"),
    FisherTrace(draws=3),
    HessianSpectrum(steps=6, probes=4),
    Rescaling(points=3, steps=4, probes=2),
    InputCurvature(),
    BatchEigenvalue(batch=3),
]


@pytest.mark.parametrize("measurement", STOPPED, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("stop", [1, 3, None])
def test_the_model_stays_as_it_was(measurement, stop):
    model, images, labels = cases.conv_net()
    before, pictures = copy.deepcopy(model.state_dict()), images.clone()
    stream = measurement.measure(model, images, labels, seed=0)
    for count, _ in enumerate(stream, start=1):
        if count == stop:
            stream.close()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(images, pictures)
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model.bn1.eps == 1e-5


@pytest.mark.parametrize(
    "measurement",
    [Sharpness, FisherSpectrum, FisherTrace, HessianSpectrum, Rescaling, BatchEigenvalue],
)
def test_layers_are_chosen_or_refused(measurement):
    model, images, labels = problem("conv_net")
    with pytest.raises(ValueError, match=r"Unknown layer fc. Allowed: conv1, bn1"):
        next(measurement(layers="fc").measure(model, images, labels, seed=0))
    part = last(measurement(layers="conv2,linear").measure(model, images, labels, seed=0))
    if "layers" in part.arrays:
        assert list(part.arrays["layers"]) == ["conv2", "linear"]
    if "num_parameters" in part.values:
        assert part.values["num_parameters"] == 424
    if measurement is HessianSpectrum:
        names = parameters_of(model, "conv2,linear")
        top = torch.linalg.eigvalsh(oracles.dense_hessian(model, images, labels, names))[-1]
        assert part.values["lambda_max"] == pytest.approx(float(top))


@pytest.mark.parametrize(
    "measurement", [Sharpness(steps=14, probes=8, draws=4), FisherSpectrum(), FisherTrace(draws=3)]
)
def test_a_thousand_classes_of_which_most_are_missing(measurement):
    torch.manual_seed(0)
    model = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(12, 1000)).double()
    images, labels = torch.rand(5, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 999, 3, 3, 3])
    values = last(measurement.measure(model, images, labels, seed=0)).values
    true = float(LastLayer.of(model, images).fisher().trace())
    if "fisher_trace" in values:
        assert abs(values["fisher_trace"] - true) <= 5 * values["fisher_trace_stderr"] + 1e-9
    if "method" in values:
        assert values["method"] == "lanczos"
        assert values["fisher_lambda_max"] > 0


def test_chunks_of_images_change_nothing(monkeypatch):
    model, images, labels = problem("conv_net")
    measurements = (Sharpness(steps=14, probes=8, draws=4), FisherTrace(draws=2), FisherSpectrum())
    before = [last(m.measure(model, images, labels, seed=0)).values for m in measurements]
    for module, name in ((gradients, "_IMAGES"), (gradients, "FORWARD_CHUNK")):
        monkeypatch.setattr(module, name, 4)
    for m, values in zip(measurements, before, strict=True):
        for key, value in last(m.measure(model, images, labels, seed=0)).values.items():
            if isinstance(value, float) and key != "seconds":
                assert value == pytest.approx(values[key], rel=1e-9), key
