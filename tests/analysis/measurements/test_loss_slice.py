"""Slices against naive loops."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from analysis.landscape.directions import filter_normalized
from analysis.measurements.loss_slice import LossSlice
from tests.helpers import cases, oracles
from tests.helpers.streams import generator, last


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


def test_a_slice_along_eigenvectors():
    model, images, labels = cases.no_batch_norm()
    measurement = LossSlice(direction="eigenvectors", directions=2, points=3, reach=0.01)
    partial = last(measurement.measure(model, images, labels, seed=1))
    wanted = torch.linalg.eigvalsh(oracles.dense_hessian(model, images, labels)).flip(0)
    np.testing.assert_allclose(partial.arrays["eigenvalues"], wanted[:2], rtol=0.01)
    np.testing.assert_allclose(np.diff(partial.arrays["loss"], 2)[:, 0], 2e-4, rtol=0.02)
    assert partial.values["direction"] == "eigenvectors"


@pytest.mark.parametrize("direction", ["eigenvectors", "filter_eigenvectors"])
@pytest.mark.parametrize("distance", ["rise", "length"])
def test_a_slice_in_every_unit(direction, distance):
    model, images, labels = cases.no_batch_norm()  # without a kink
    measurement = LossSlice(
        direction=direction, distance=distance, directions=1, points=3, reach=0.01
    )
    partial = last(measurement.measure(model, images, labels, seed=1))
    dense = oracles.dense_hessian(model, images, labels)
    if direction == "filter_eigenvectors":
        sizes = torch.cat(
            [
                p.detach().flatten(1).norm(dim=1).repeat_interleave(p[0].numel())
                if p.ndim > 1
                else torch.zeros(p.numel())
                for p in model.parameters()
            ]
        )
        dense = sizes[:, None] * dense * sizes
    wanted = float(torch.linalg.eigvalsh(dense)[-1])
    np.testing.assert_allclose(partial.arrays["eigenvalues"], [wanted], rtol=0.01)
    rise = np.diff(partial.arrays["loss"], 2)[0, 0]  # curvature times 0.01^2
    assert rise == pytest.approx(1e-4 * (2 if distance == "rise" else wanted), rel=0.02)
    assert ("relative" in partial.values["unit"]) == (
        (direction, distance) == ("filter_eigenvectors", "length")
    )


def test_a_slice_moves_the_chosen_layers_only():
    model, images, labels = cases.conv_net()
    partial = last(
        LossSlice(layers="conv2", directions=1, points=3).measure(model, images, labels, seed=2)
    )
    direction = filter_normalized(model, generator(2), ["conv2.weight"])
    state = model.state_dict() | {
        "conv2.weight": model.conv2.weight.detach() + 0.5 * direction["conv2.weight"]
    }
    assert partial.arrays["loss"][0, 2] == pytest.approx(
        oracles.loss_and_accuracy(model, state, images, labels)[0]
    )
