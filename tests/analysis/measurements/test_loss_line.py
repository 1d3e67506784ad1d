"""Lines against naive loops."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from analysis.measurements.loss_line import LossLine
from tests.helpers import cases, oracles
from tests.helpers.oracles import reestimated
from tests.helpers.streams import generator, last


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


def test_statistics_along_a_line_can_be_estimated_anew():
    model, images, labels = cases.conv_net()
    start = cases.purified(model)
    arrays = last(
        LossLine(points=3, batch_norm_between="reestimated").measure(
            model, images, labels, seed=0, reference=start
        )
    ).arrays
    state = {
        k: 0.5 * (v + model.state_dict()[k]) if v.is_floating_point() else v
        for k, v in start.state_dict().items()
    }
    state |= reestimated(model, state, images)
    assert arrays["loss"][1] == pytest.approx(
        oracles.loss_and_accuracy(model, state, images, labels)[0], rel=1e-12
    )
