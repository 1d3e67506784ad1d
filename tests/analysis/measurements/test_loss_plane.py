"""Planes against naive loops: a copy of the model, its weights set, one point at a time."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from analysis.landscape.interpolation import states_of
from analysis.landscape.planes import model_plane, place, random_planes
from analysis.measurements.loss_plane import LossPlane
from analysis.model_under_test import frozen_copy
from ngf.checkpoints.waypoints import Waypoint
from tests.helpers import cases, oracles
from tests.helpers.oracles import reestimated
from tests.helpers.streams import generator, last


def check_plane(partial, plane, model, images, labels, index=0):
    """Every cell of plane `index` is what a fresh copy with the weights of that cell gives."""
    origin, first, second = plane.states
    a, b = partial.arrays["a"], partial.arrays["b"]
    for row in range(len(b)):
        for column in range(len(a)):
            state = model.state_dict()
            state |= {k: origin[k] + a[column] * first[k] + b[row] * second[k] for k in origin}
            loss, rate = oracles.loss_and_accuracy(model, state, images, labels)
            assert partial.arrays["loss"][index, row, column] == pytest.approx(loss, rel=1e-6)
            assert partial.arrays["rate"][index, row, column] == pytest.approx(rate, rel=1e-6)


LAYERS = [
    ("conv_net", ""),
    ("conv_net", "linear"),
    ("conv_net", "conv2"),
    ("conv_net", "bn2, linear"),
    ("residual_net", ""),
    ("residual_net", "conv"),
    ("no_batch_norm", "3"),
    ("one_layer", ""),
]


@pytest.mark.parametrize(("case", "layers"), LAYERS)
def test_a_random_plane_is_the_naive_loop(case, layers):
    model, images, labels = cases.CASES[case]()
    partial = last(
        LossPlane(points=5, planes=2, layers=layers, reach=0.7).measure(
            model, images, labels, seed=3
        )
    )
    names = [
        name
        for name, _ in model.named_parameters()
        if not layers or name.rpartition(".")[0] in layers.replace(" ", "").split(",")
    ]
    planes = random_planes(frozen_copy(model, images, labels), generator(3), names, 2)
    for index, plane in enumerate(planes):
        check_plane(partial, plane, model, images, labels, index)
    np.testing.assert_allclose(partial.arrays["a"], np.linspace(-0.7, 0.7, 5), atol=1e-15)
    assert partial.values["spread"] > 0
    assert abs(partial.values["cosine"]) > 1e-3
    assert abs(partial.values["cosine_after"]) < 1e-12


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_number(threads):
    model, images, labels = cases.conv_net()
    wanted = last(LossPlane(points=3).measure(model, images, labels, seed=0)).arrays["loss"]
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(
        last(LossPlane(points=3).measure(model, images, labels, seed=0)).arrays["loss"], wanted
    )
    assert torch.get_num_threads() == threads


def test_a_plane_is_complete_from_the_start():
    model, images, labels = cases.conv_net()
    partials = list(
        LossPlane(points=21, planes=2, layers="linear").measure(model, images, labels, seed=0)
    )
    end = partials[-1].arrays
    assert not partials[0].arrays["known"].any()
    assert end["known"].all()
    counts = [int(p.arrays["known"].sum()) for p in partials]
    assert counts == sorted(set(counts))
    assert 121 in counts  # 11 x 11 before 21 x 21
    for partial in partials:
        assert json.dumps(dict(partial.values), allow_nan=False)
        assert partial.arrays["loss"].shape == partial.arrays["rate"].shape == (2, 21, 21)
        assert partial.arrays["loss"].dtype == partial.arrays["rate"].dtype == np.float32
        assert partial.arrays["known"].dtype == np.uint8
        assert np.isfinite(partial.arrays["loss"]).all()
        assert 0 <= partial.arrays["rate"].min() <= partial.arrays["rate"].max() <= 1
        np.testing.assert_array_equal(partial.arrays["a"], end["a"])
        known = partial.arrays["known"].astype(bool)
        np.testing.assert_array_equal(partial.arrays["loss"][:, known], end["loss"][:, known])
    center = partials[0].arrays["loss"][:, 10, 10]
    # The quadratic touches the surface.
    np.testing.assert_allclose(center, partials[0].values["loss"], rtol=1e-6)
    coarse = partials[counts.index(121)].arrays["loss"]
    # Interpolated, not far off.
    assert np.abs(coarse - end["loss"]).max() < 0.1 * np.ptp(end["loss"])


def test_the_preview_is_the_second_order_model():
    model, images, labels = cases.no_batch_norm()
    plane = random_planes(
        frozen_copy(model, images, labels), generator(0), dict(model.named_parameters()), 1
    )[0]
    names = [name for name, _ in model.named_parameters()]
    d = [
        torch.cat(
            [
                state[n].reshape(-1) if n in state else torch.zeros(p.numel(), dtype=p.dtype)
                for n, p in model.named_parameters()
            ]
        )
        for state in plane.states[1:]
    ]
    hessian, gradient = (
        oracles.dense_hessian(model, images, labels, names),
        oracles.gradient(model, images, labels),
    )
    first = next(LossPlane(points=3, reach=0.01).measure(model, images, labels, seed=0))
    x = 0.01 * (d[0] + d[1])
    wanted = first.values["loss"] + float(gradient @ x + 0.5 * x @ hessian @ x)
    assert first.arrays["loss"][0, 2, 2] == pytest.approx(wanted, rel=1e-6)


def test_a_loss_that_overflows_shows_the_largest_that_does_not():
    _, images, labels = cases.no_batch_norm()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), *(nn.Linear(n, 6) for n in (192, *[6] * 40)), nn.Linear(6, 4)
    ).float()
    partials = list(LossPlane(points=5, reach=100).measure(model, images.float(), labels, seed=0))
    assert partials[-1].values["num_not_finite"] > 0
    for partial in partials:
        assert np.isfinite(partial.arrays["loss"]).all()
        json.dumps(dict(partial.values), allow_nan=False)


def test_layers_without_weights_are_refused():
    model, images, labels = cases.conv_net()
    with pytest.raises(ValueError, match="no linear or convolution weights to move"):
        next(LossPlane(layers="bn1").measure(model, images, labels, seed=0))
    with pytest.raises(ValueError, match="Unknown layer fc"):
        next(LossPlane(layers="fc").measure(model, images, labels, seed=0))


def test_the_way_of_the_optimizer_is_drawn_on_a_plane_through_models():
    model, images, labels = cases.conv_net()
    first, third = cases.purified(model, 7), cases.purified(model, 8)
    start, end = first.state_dict(), model.state_dict()
    way = [
        Waypoint(
            step,
            10,
            {
                k: v + step / 10 * (end[k] - v) if v.is_floating_point() else v
                for k, v in start.items()
            },
        )
        for step in (0, 3, 10)
    ]
    partial = last(
        LossPlane(plane="models", points=5, third="b").measure(
            model, images, labels, seed=0, reference=first, others=[third], path=iter(way)
        )
    )
    np.testing.assert_allclose(partial.arrays["path"], [[0, 0], [0.3, 0], [1, 0]], atol=1e-9)
    assert partial.arrays["path_names"].tolist() == ["step 0", "step 3", "step 10"]
    assert partial.values["path_share"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("case", "layers"), [("no_batch_norm", ""), ("conv_net", "linear"), ("one_layer", "")]
)
def test_eigenvector_axes_are_in_units_of_the_loss(case, layers):
    model, images, labels = cases.CASES[case]()
    names = [n for n, _ in model.named_parameters() if n.startswith(layers)]
    wanted = torch.linalg.eigvalsh(oracles.dense_hessian(model, images, labels, names)).flip(0)
    measurement = LossPlane(plane="eigenvectors", points=3, reach=0.01, layers=layers)
    partials = list(measurement.measure(model, images, labels, seed=0))
    values, loss = partials[-1].values, partials[-1].arrays["loss"][0].astype(float)
    for k, axis in enumerate("ab"):
        assert (
            abs(values[f"lambda_{axis}"] - float(wanted[k]))
            <= values[f"lambda_{axis}_error"] + 1e-9
        )
        assert values[f"lambda_{axis}_error"] <= 0.01 * values[f"lambda_{axis}"]
    # The second difference leaves the curvature, which is d^2 on either side: 2 d^2.
    assert loss[1, 0] + loss[1, 2] - 2 * loss[1, 1] == pytest.approx(2e-4, rel=0.05)
    assert loss[0, 1] + loss[2, 1] - 2 * loss[1, 1] == pytest.approx(2e-4, rel=0.05)
    assert partials[0].values["lambda_a"] is None
    assert partials[0].arrays["loss"][0, 1, 2] == pytest.approx(values["loss"] + 1e-4, rel=1e-6)
    before = next(p for p in reversed(partials) if not p.arrays["known"].any()).arrays["loss"][0]
    # Slope and curvature are right, the rest is of third order.
    np.testing.assert_allclose(before, loss, atol=3e-5)


@pytest.mark.parametrize("plane", ["eigenvectors", "filter_eigenvectors"])
def test_eigenvector_axes_are_lengths_where_that_is_asked_for(plane):
    model, images, labels = cases.no_batch_norm()
    measurement = LossPlane(plane=plane, distance="length", points=3, reach=0.01)
    partials = list(measurement.measure(model, images, labels, seed=0))
    values, loss = partials[-1].values, partials[-1].arrays["loss"][0].astype(float)
    rises = [loss[1, 0] + loss[1, 2] - 2 * loss[1, 1], loss[0, 1] + loss[2, 1] - 2 * loss[1, 1]]
    for rise, axis in zip(rises, "ab", strict=True):
        assert rise == pytest.approx(1e-4 * values[f"lambda_{axis}"], rel=0.05)
    before = next(p for p in reversed(partials) if not p.arrays["known"].any()).arrays["loss"][0]
    np.testing.assert_allclose(before, loss, atol=3e-5)


@pytest.mark.parametrize("between", ["interpolated", "reestimated"])
@pytest.mark.parametrize("case", ["conv_net", "residual_net", "no_batch_norm"])
def test_a_plane_through_models_is_the_naive_loop(case, between):
    model, images, labels = cases.CASES[case]()
    first, third = cases.purified(model, 7), cases.purified(model, 8)
    partial = last(
        LossPlane(
            plane="models", points=5, third="b", batch_norm_between=between, reach=0.3
        ).measure(model, images, labels, seed=0, reference=first, others=[third])
    )
    arrays = partial.arrays
    assert arrays["point_names"].tolist() == ["backdoored", "purified", "third"]
    states = states_of((first, model, third), images, labels)
    plane = model_plane(states, ("x", "y", "z"), dict(model.named_parameters()))
    for state, (a, b) in zip(
        states, arrays["points"], strict=True
    ):  # the models lie where it is said
        for name in plane.moving:
            at = sum(c * s[name] for c, s in zip(place(a, b), plane.states, strict=True))
            torch.testing.assert_close(at, state[name], rtol=0, atol=1e-12)
    assert arrays["a"][0] < 0 < 1 < arrays["a"][-1]
    for row, b in enumerate(arrays["b"]):
        for column, a in enumerate(arrays["a"]):
            state = model.state_dict()
            state |= {
                k: sum(c * s[k] for c, s in zip(place(a, b), plane.states, strict=True))
                for k in plane.moving
            }
            for name, value in state.items():
                if name.endswith("running_var"):
                    state[name] = torch.maximum(
                        value, torch.stack([s[name] for s in states]).amin(0)
                    )
            if between == "reestimated":
                state |= reestimated(model, state, images)
            loss, rate = oracles.loss_and_accuracy(model, state, images, labels)
            assert arrays["loss"][0, row, column] == pytest.approx(loss, rel=1e-6)
            assert arrays["rate"][0, row, column] == pytest.approx(rate, rel=1e-6)


def test_what_spans_no_plane_is_refused():
    model, images, labels = cases.conv_net()
    one, two = cases.purified(model, 7), cases.purified(model, 8)
    middle = copy.deepcopy(model)
    middle.load_state_dict(
        {
            k: (v + one.state_dict()[k]) / 2 if v.is_floating_point() else v
            for k, v in model.state_dict().items()
        }
    )

    def measure(reference, *others, **options):
        return next(
            LossPlane(**{"plane": "models", **options}).measure(
                model, images, labels, seed=0, reference=reference, others=others
            )
        )

    for args in ((None,), (one,), (None, two)):
        with pytest.raises(ValueError, match="needs three"):
            measure(*args)
    with pytest.raises(ValueError, match="purified and third have the same weights"):
        measure(one, model)
    with pytest.raises(ValueError, match="backdoored and purified have the same weights"):
        measure(model, two)
    with pytest.raises(ValueError, match="on one line"):
        measure(one, middle)
    with pytest.raises(ValueError, match="differ in their layers"):
        measure(one, cases.residual_net()[0])
    with pytest.raises(ValueError, match="Leave layers empty"):
        measure(one, two, layers="linear")
    with pytest.raises(ValueError, match="one plane of models"):
        measure(one, two, planes=2)
    assert measure(None, one, two).arrays["points"].shape == (3, 2)
    assert LossPlane(plane="models", third=" a , b:c").others() == ("a", "b:c")
    assert LossPlane(third="a").others() == ()
