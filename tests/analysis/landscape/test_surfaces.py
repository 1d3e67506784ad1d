"""Planes and bends against naive loops: a copy of the model, its weights set, all images, one
point at a time.
"""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from analysis.landscape.directions import cosine, filter_normalized, orthogonal_to, project
from analysis.landscape.interpolation import pieces, reestimate, states_of
from analysis.landscape.loss_at import Walker
from analysis.landscape.partial_forward import Replay
from analysis.landscape.planes import model_plane, place, random_planes
from analysis.landscape.progressive_surface import Surface, levels
from analysis.measurements.loss_bend import LossBend
from analysis.measurements.loss_line import LossLine
from analysis.measurements.loss_plane import LossPlane
from analysis.measurements.loss_slice import LossSlice
from analysis.model_under_test import frozen_copy
from ngf.checkpoints.waypoints import Waypoint
from ngf.models import build
from tests.helpers import cases, oracles

pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last(measurement, *args, **kwargs):
    *_, partial = measurement.measure(*args, **kwargs)
    return partial


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
        LossPlane(points=5, planes=2, layers=layers, reach=0.7), model, images, labels, seed=3
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
    wanted = last(LossPlane(points=3), model, images, labels, seed=0).arrays["loss"]
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(
        last(LossPlane(points=3), model, images, labels, seed=0).arrays["loss"], wanted
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
    np.testing.assert_allclose(
        center, partials[0].values["loss"], rtol=1e-6
    )  # the quadratic touches the surface
    coarse = partials[counts.index(121)].arrays["loss"]
    assert np.abs(coarse - end["loss"]).max() < 0.1 * np.ptp(
        end["loss"]
    )  # interpolated, not far off


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


def test_rows_come_in_serpentine_order():
    surface = Surface(np.zeros((1, 5, 5)), np.zeros((1, 5, 5)))
    seen = []
    for b, columns in surface.rows():
        seen += [(b, a) for a in columns]
        surface.record(b, columns, np.ones((1, len(columns))), np.ones((1, len(columns))))
    assert len(seen) == len(set(seen)) == 25
    assert seen[:7] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 3)]
    assert [len(level) for level in levels(41)] == [11, 21, 41]
    assert all(level[0] == 0 and level[-1] == 50 and 25 in level for level in levels(51))


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


def test_directions_are_orthogonal_after_they_are_normalized():
    model, _, _ = cases.conv_net()
    first, second = (filter_normalized(model, generator(k)) for k in (0, 1))
    turned = orthogonal_to(first, second)
    assert abs(cosine(first, second)) > 1e-3
    assert abs(cosine(first, turned)) < 1e-14
    assert sum(float(t.square().sum()) for t in turned.values()) == pytest.approx(
        sum(float(t.square().sum()) for t in second.values())
    )
    with pytest.raises(ValueError, match="parallel"):
        orthogonal_to(first, {name: -2 * part for name, part in first.items()})


def test_layers_without_weights_are_refused():
    model, images, labels = cases.conv_net()
    with pytest.raises(ValueError, match="no linear or convolution weights to move"):
        next(LossPlane(layers="bn1").measure(model, images, labels, seed=0))
    with pytest.raises(ValueError, match="Unknown layer fc"):
        next(LossPlane(layers="fc").measure(model, images, labels, seed=0))


def test_a_path_is_projected_on_the_plane():
    model, images, labels = cases.conv_net()
    plane = random_planes(
        frozen_copy(model, images, labels), generator(), dict(model.named_parameters()), 1
    )[0]
    origin, first, second = plane.states
    skew = {k: second[k] + 0.3 * first[k] for k in second}
    wanted = np.array([[0, 0], [0.5, 0.1], [0.2, -0.7]])
    path = [{k: origin[k] + a * first[k] + b * skew[k] for k in origin} for a, b in wanted]
    found, share = project(path, origin, [first, skew])
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert share == pytest.approx(1)
    away = filter_normalized(model, generator(9))
    away = orthogonal_to(second, orthogonal_to(first, {k: away[k] for k in origin}))
    steps = [{k: origin[k] + t * (first[k] + 2 * away[k]) for k in origin} for t in (0, 1)]
    found, share = project(steps, origin, [first, second])
    np.testing.assert_allclose(found[1], [1, 0], atol=1e-2)
    assert share == pytest.approx(1 / 5**0.5, rel=0.05)


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
        LossPlane(plane="models", points=5, third="b"),
        model,
        images,
        labels,
        seed=0,
        reference=first,
        others=[third],
        path=iter(way),
    )
    np.testing.assert_allclose(partial.arrays["path"], [[0, 0], [0.3, 0], [1, 0]], atol=1e-9)
    assert partial.arrays["path_names"].tolist() == ["step 0", "step 3", "step 10"]
    assert partial.values["path_share"] == pytest.approx(1)


# Eigenvectors


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
    np.testing.assert_allclose(
        before, loss, atol=3e-5
    )  # slope and curvature are right, the rest is of third order


def test_a_slice_along_eigenvectors():
    model, images, labels = cases.no_batch_norm()
    measurement = LossSlice(direction="eigenvectors", directions=2, points=3, reach=0.01)
    partial = last(measurement, model, images, labels, seed=1)
    wanted = torch.linalg.eigvalsh(oracles.dense_hessian(model, images, labels)).flip(0)
    np.testing.assert_allclose(partial.arrays["eigenvalues"], wanted[:2], rtol=0.01)
    np.testing.assert_allclose(np.diff(partial.arrays["loss"], 2)[:, 0], 2e-4, rtol=0.02)
    assert partial.values["direction"] == "eigenvectors"


def test_a_slice_moves_the_chosen_layers_only():
    model, images, labels = cases.conv_net()
    partial = last(LossSlice(layers="conv2", directions=1, points=3), model, images, labels, seed=2)
    direction = filter_normalized(model, generator(2), ["conv2.weight"])
    state = model.state_dict() | {
        "conv2.weight": model.conv2.weight.detach() + 0.5 * direction["conv2.weight"]
    }
    assert partial.arrays["loss"][0, 2] == pytest.approx(
        oracles.loss_and_accuracy(model, state, images, labels)[0]
    )


# Between models


def reestimated(model, state, images):
    """`state` with the statistics that the images give in train mode: one batch, as there are
    few.
    """
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(state)
    for module in fresh.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        fresh.train()(images)
    return {k: v for k, v in fresh.state_dict().items() if v.is_floating_point()}


@pytest.mark.parametrize("between", ["interpolated", "reestimated"])
@pytest.mark.parametrize("case", ["conv_net", "residual_net", "no_batch_norm"])
def test_a_plane_through_models_is_the_naive_loop(case, between):
    model, images, labels = cases.CASES[case]()
    first, third = cases.purified(model, 7), cases.purified(model, 8)
    partial = last(
        LossPlane(plane="models", points=5, third="b", batch_norm_between=between, reach=0.3),
        model,
        images,
        labels,
        seed=0,
        reference=first,
        others=[third],
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


def test_statistics_are_those_of_train_mode():
    model, _, _ = cases.conv_net()
    images = torch.rand(300, 3, 8, 8, dtype=torch.float64)
    found, wanted = copy.deepcopy(model).eval(), copy.deepcopy(model)
    reestimate(found, images)
    assert not any(module.training for module in found.modules())
    assert found.bn1.momentum == 0.1
    sizes = [len(part) for part in pieces(images)]
    assert sizes == [100, 100, 100]
    for module in (wanted.bn1, wanted.bn2):
        module.momentum = None
        module.reset_running_stats()
    for part in images.split(100):
        wanted.train()(part)
    for name in ("bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.running_var"):
        torch.testing.assert_close(
            found.state_dict()[name], wanted.state_dict()[name], rtol=1e-12, atol=0
        )
    with pytest.raises(ValueError, match="cannot be estimated from one image"):
        reestimate(found, images[:1])


def test_statistics_along_a_line_can_be_estimated_anew():
    model, images, labels = cases.conv_net()
    start = cases.purified(model)
    arrays = last(
        LossLine(points=3, batch_norm_between="reestimated"),
        model,
        images,
        labels,
        seed=0,
        reference=start,
    ).arrays
    state = {
        k: 0.5 * (v + model.state_dict()[k]) if v.is_floating_point() else v
        for k, v in start.state_dict().items()
    }
    state |= reestimated(model, state, images)
    assert arrays["loss"][1] == pytest.approx(
        oracles.loss_and_accuracy(model, state, images, labels)[0], rel=1e-12
    )


def permuted(model):
    """The same function with its hidden units in another order: a line to it has a barrier."""
    other, order = copy.deepcopy(model), torch.arange(model[1].out_features).flip(0)
    other[1].weight.data, other[1].bias.data = (
        model[1].weight.data[order],
        model[1].bias.data[order],
    )
    other[3].weight.data = model[3].weight.data[:, order]
    return other


def test_a_bend_goes_around_a_barrier():
    torch.manual_seed(0)
    images, labels = torch.rand(40, 3, 8, 8, dtype=torch.float64), torch.randint(0, 4, (40,))
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    other = permuted(model)
    partials = list(
        LossBend(points=9, steps=60, lr=0.05).measure(
            model, images, labels, seed=0, reference=other
        )
    )
    values, arrays = partials[-1].values, partials[-1].arrays
    assert values["barrier_line"] > 0.1
    assert values["highest_bend"] < 0.7 * values["highest_line"]
    assert values["length_bend"] > values["length_line"]
    assert len(arrays["train_loss"]) == values["steps_done"] == 60
    for end, net in ((0, other), (-1, model)):
        loss, rate = oracles.loss_and_accuracy(net, net.state_dict(), images, labels)
        for name in ("loss", "line_loss"):
            assert arrays[name][end] == pytest.approx(loss, rel=1e-12)
        assert arrays["ca"][end] == rate
    for early in partials:
        assert early.values["highest_bend"] <= early.values["highest_line"]
    straight = last(LossLine(points=9), model, images, labels, seed=0, reference=other).arrays[
        "loss"
    ]
    np.testing.assert_allclose(arrays["line_loss"], straight, rtol=1e-12)


@pytest.mark.parametrize("between", ["interpolated", "reestimated"])
def test_a_bend_is_never_worse_than_the_line(between):
    model, images, labels = cases.conv_net()
    other = cases.purified(model)
    before = copy.deepcopy(model.state_dict())
    for partial in LossBend(points=5, steps=6, lr=0.5, batch_norm_between=between).measure(
        model, images, labels, seed=0, reference=other
    ):
        assert partial.values["highest_bend"] <= partial.values["highest_line"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


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
    with pytest.raises(ValueError, match="A bend needs two models"):
        next(LossBend().measure(model, images, labels, seed=0))


# The frozen part


@pytest.mark.parametrize("name", ["preact_resnet_tiny", "vgg_tiny"])
def test_a_replay_gives_the_numbers_of_the_network(name):
    torch.manual_seed(0)
    model = build(name, 12).eval().requires_grad_(False)
    images = torch.rand(20, 3, 32, 32)
    kept = []
    for layer, module in model.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        replay = Replay(model, images, [f"{layer}.weight"])
        kept.append(replay.num_kept)
        replay.state[f"{layer}.weight"].mul_(1.3)
        part, whole = (
            next(replay.logits()),
            replay.network(images.contiguous(memory_format=torch.channels_last)),
        )
        assert torch.equal(part, whole)
        assert (replay.head is not None) == (layer == "linear")
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]


def test_a_tie_goes_to_the_first_class():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double().eval().requires_grad_(False)
    model[1].weight.zero_()
    model[1].bias.zero_()
    images, labels = torch.rand(8, 3, 2, 2).double(), torch.arange(8) % 4
    still = {"1.weight": model[1].weight.clone()}
    (reading,) = Walker(model, images, labels, ["1.weight"]).read([still], [(1.0,)])
    assert reading.rate == (model(images).argmax(1) == labels).double().mean() == 0.25


class _Odd(nn.Module):
    """What cannot be split: control flow, or a value that is overwritten after it was read."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.linear = kind, nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

    def forward(self, x):
        x = self.conv(x)
        if self.kind == "control flow" and x.mean() > 100:
            x = -x
        y = x.mean((2, 3))
        if self.kind == "overwritten":
            return y.add_(self.linear(y))
        z = self.linear(y)
        return z + torch.relu_(y) if self.kind == "read before" else z


@pytest.mark.parametrize("kind", ["control flow", "overwritten", "read before"])
def test_a_network_that_cannot_be_split_runs_as_a_whole(kind):
    torch.manual_seed(0)
    model, images, labels = (
        _Odd(kind).double().eval(),
        torch.rand(6, 3, 8, 8).double(),
        torch.arange(6) % 4,
    )
    frozen = frozen_copy(model, images, labels)
    assert Replay(frozen, images, ["linear.weight"]).num_kept == 0
    plane = random_planes(frozen, generator(), ["linear.weight"], 1)[0]
    found = Walker(frozen, images, labels, plane.moving).read(
        plane.states, [place(0, 0), place(0.4, -0.2)]
    )
    for reading, (a, b) in zip(found, [(0, 0), (0.4, -0.2)], strict=True):
        state = model.state_dict()
        state |= {
            k: plane.states[0][k] + a * plane.states[1][k] + b * plane.states[2][k]
            for k in plane.moving
        }
        assert reading.loss == pytest.approx(
            oracles.loss_and_accuracy(model, state, images, labels)[0], rel=1e-12
        )
