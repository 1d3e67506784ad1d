"""Measures of sharpness against dense matrices and their slow definitions."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.curvature.rescale import rescaled
from analysis.measurements.hessian_spectrum import HessianSpectrum
from analysis.measurements.sharpness import ERRORS, Sharpness
from tests.helpers import cases, oracles
from tests.helpers.oracles import fisher_of, hessian_of, naive_scaling, problem
from tests.helpers.streams import last

SHORT = {"steps": 14, "probes": 8, "draws": 4}


@functools.cache
def result(name: str):
    return last(
        Sharpness(steps=25, probes=30, draws=200, sigma=1e-3).measure(*problem(name), seed=1)
    )


@pytest.mark.parametrize("name", ["conv_net", "residual_net", "one_layer"])
def test_scaled_curvature_is_that_of_the_dense_matrix(name):
    values = result(name).values
    for kind, title in (
        ("filter", "filter"),
        ("adaptive", "adaptive"),
        ("layer", "layer_normalized"),
    ):
        d = naive_scaling(problem(name)[0], kind)
        matrix = d[:, None] * hessian_of(name) * d
        assert (
            abs(values[f"{title}_trace"] - float(matrix.trace()))
            <= 4 * values[f"{title}_trace_stderr"] + 1e-9
        )
        if kind != "layer":
            top = float(torch.linalg.eigvalsh(matrix)[-1])
            assert (
                abs(values[f"{title}_lambda_max"] - top)
                <= values[f"{title}_lambda_max_error"] + 1e-12
            )


@pytest.mark.parametrize("name", list(cases.CASES))
def test_closed_forms(name):
    model, images, labels = problem(name)
    values = result(name).values
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    assert values["fisher_rao_norm"] == pytest.approx(
        float(theta @ fisher_of(name) @ theta), rel=1e-9
    )
    assert values["weight_norm"] == pytest.approx(float(theta.norm()))
    loss, ca = oracles.loss_and_accuracy(model, model.state_dict(), images, labels)
    assert (values["loss"], values["ca"]) == (pytest.approx(loss), ca)
    last_name = [key for key, _ in model.named_parameters()][-2]
    weight = model.get_parameter(last_name).detach()
    block = oracles.dense_hessian(model, images, labels, [last_name]).view(
        *weight.shape, *weight.shape
    )
    flatness = sum(
        float(weight[s] @ weight[t]) * float(torch.diagonal(block[s, :, t]).sum())
        for s in range(4)
        for t in range(4)
    )
    assert values["relative_flatness"] == pytest.approx(flatness, rel=1e-9)


@pytest.mark.parametrize("name", ["conv_net", "no_batch_norm"])
def test_asam_is_the_loss_after_its_step(name):
    model, images, labels = problem(name)
    w = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    g = oracles.gradient(model, images, labels)
    step = 0.5 * w**2 * g / (w.abs() * g).norm()
    moved = copy.deepcopy(model).eval()
    nn.utils.vector_to_parameters(w + step, moved.parameters())
    with torch.no_grad():
        rise = F.cross_entropy(moved(images), labels) - F.cross_entropy(
            copy.deepcopy(model).eval()(images), labels
        )
    assert result(name).values["asam_sharpness"] == pytest.approx(float(rise), rel=1e-9)


@pytest.mark.parametrize("name", list(cases.CASES))
def test_noise_in_proportion_changes_predictions_to_second_order(name):
    values, d = result(name).values, naive_scaling(problem(name)[0], "adaptive")
    expected = 0.5 * 1e-6 * float((d**2 * fisher_of(name).diagonal()).sum())
    assert abs(values["function_sharpness"] - expected) < 4 * values["function_sharpness_stderr"]
    assert values["function_sharpness_stderr"] < 0.2 * expected


def test_the_table_grows_with_what_is_known():
    partials = list(Sharpness(**SHORT).measure(*problem("conv_net"), seed=0))
    sizes = [len(partial.arrays["measure"]) for partial in partials]
    assert sizes == sorted(sizes) and sizes[0] == 2 and sizes[-1] == len(ERRORS)
    for partial in partials:
        for name, value, error in zip(
            *(partial.arrays[key] for key in ("measure", "value", "error")), strict=True
        ):
            assert partial.values[name] == value
            assert error == (partial.values[ERRORS[name]] if ERRORS[name] else 0)


def test_invariant_measures_do_not_see_batch_norm_rescaling():
    model, images, labels = problem("conv_net")
    other = rescaled(copy.deepcopy(model).eval(), "conv2", "bn2", 50.0)
    before, after = (
        last(Sharpness(**SHORT).measure(net, images, labels, seed=0)).values
        for net in (model, other)
    )
    assert after["weight_norm"] > 5 * before["weight_norm"]
    for name in set(ERRORS) - {"weight_norm"}:
        assert after[name] == pytest.approx(before[name], rel=1e-6), name


def test_invariant_measures_do_not_see_relu_rescaling():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight.mul_(20)
        other[1].bias.mul_(20)
        other[3].weight.div_(20)
    images, labels = problem("conv_net")[1:]
    torch.testing.assert_close(model(images), other(images))
    before, after = (
        last(Sharpness(**SHORT).measure(net, images, labels, seed=0)).values
        for net in (model, other)
    )
    for name in set(ERRORS) - {"weight_norm"}:
        assert after[name] == pytest.approx(before[name], rel=1e-6), name
    plain = [
        last(HessianSpectrum(steps=10).measure(net, images, labels, seed=0)).values["lambda_max"]
        for net in (model, other)
    ]
    assert plain[1] > 2 * plain[0]


def test_a_saturated_model_is_flat_and_no_error():
    model, images, _ = problem("conv_net")
    sure = copy.deepcopy(model).eval()
    with torch.no_grad():
        sure.linear.weight.mul_(1e6)
        labels = sure(images).argmax(1)
    values = last(Sharpness(**SHORT).measure(sure, images, labels, seed=0)).values
    for name, value in values.items():
        assert not isinstance(value, float) or np.isfinite(value), name
