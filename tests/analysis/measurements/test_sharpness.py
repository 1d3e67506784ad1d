"""Sharpness, the Fisher spectrum and rescaling against dense matrices and the slow definitions."""

from __future__ import annotations

import copy
import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.curvature import gradients
from analysis.curvature.density import wasserstein
from analysis.curvature.fisher import fisher_diagonal
from analysis.curvature.last_layer import LastLayer
from analysis.curvature.operators import GaussNewton, Hessian
from analysis.curvature.scale_pairs import rescaled, scale_pairs
from analysis.curvature.scalings import scaling
from analysis.measurements import fisher_spectrum, hessian_spectrum
from analysis.measurements.fisher_spectrum import FisherSpectrum
from analysis.measurements.fisher_trace import FisherTrace
from analysis.measurements.hessian_spectrum import HessianSpectrum
from analysis.measurements.rescaling import MEASURES as RESCALED
from analysis.measurements.rescaling import Rescaling
from analysis.measurements.sharpness import ERRORS, Sharpness
from analysis.measures import MEASURES
from analysis.model_under_test import parameters_of
from ngf import models
from tests.helpers import cases, oracles
from tests.helpers.oracles import fisher_of, hessian_of, problem

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = {"steps": 14, "probes": 8, "draws": 4}
NEW = [
    Sharpness(**SHORT),
    FisherSpectrum(method="lanczos", steps=6, probes=4),
    FisherSpectrum(method="gram"),
    FisherTrace(draws=3),
    HessianSpectrum(steps=6, probes=4),
    Rescaling(points=3, steps=4, probes=2),
]


@functools.cache
def result(name: str):
    return last(
        Sharpness(steps=25, probes=30, draws=200, sigma=1e-3).measure(*problem(name), seed=1)
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last(iterator):
    *_, item = iterator
    return item


def naive_scaling(model: nn.Module, kind: str) -> torch.Tensor:
    """One weight after the other."""
    out = []
    for weight in [parameter.detach() for parameter in model.parameters()]:
        for place in np.ndindex(*weight.shape):
            if kind == "adaptive":
                out.append(abs(float(weight[place])))
            elif weight.ndim < 2:
                out.append(0.0)
            else:
                part = weight[place[0]] if kind == "filter" else weight
                out.append(float(part.reshape(-1).norm()))
    return torch.tensor(out, dtype=torch.float64)


# The measures


@pytest.mark.parametrize("kind", ["filter", "layer", "adaptive"])
def test_scalings_measure_the_weights(kind):
    model, _, _ = problem("conv_net")
    d = scaling(dict(model.named_parameters()), kind)
    torch.testing.assert_close(d, naive_scaling(model, kind))
    with pytest.raises(ValueError, match="Allowed: filter, layer, adaptive"):
        scaling(dict(model.named_parameters()), "wide")


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


def test_every_measure_says_what_leaves_it_as_it_is():
    assert all(measure.unchanged_by and measure.title for measure in MEASURES.values())
    invariant = {name for name, measure in MEASURES.items() if measure.invariant}
    assert invariant == set(ERRORS) - {"weight_norm"}, "held by the two tests on rescaling below"
    code = "import analysis.measures, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


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


# What survives rescaling


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


def test_pairs_are_found_where_nothing_else_reads_the_output():
    pairs = {
        name: scale_pairs(copy.deepcopy(problem(name)[0]).eval(), problem(name)[1])
        for name in cases.CASES
    }
    assert pairs == {
        "conv_net": {"conv1": "bn1", "conv2": "bn2"},
        "residual_net": {},
        "no_batch_norm": {},
        "one_layer": {},
    }  # in the residual net, a skip connection reads the output, too
    net = models.preact_resnet.PreActResNet(
        5, 3, widths=(4, 6), num_blocks=(1, 1), stem_stride=1
    ).eval()
    assert scale_pairs(net, torch.rand(2, 3, 8, 8)) == {
        f"stage{i}.block1.conv1": f"stage{i}.block1.bn2" for i in (1, 2)
    }


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_rescaling_is_exact_even_where_eps_decides(factor):
    model, images, _ = problem("conv_net")
    model = copy.deepcopy(model).eval()
    model.bn1.running_var.fill_(1e-6)  # a tenth of eps
    other = rescaled(model, "conv1", "bn1", factor)
    with torch.no_grad():
        torch.testing.assert_close(other(images), model(images), rtol=1e-10, atol=1e-12)
    assert torch.equal(other.conv1.bias, model.conv1.bias * factor)
    with pytest.raises(ValueError, match="factor = 0"):
        rescaled(model, "conv1", "bn1", 0.0)


def test_rescaling_moves_curvature_and_nothing_else():
    model, images, labels = problem("conv_net")
    found = last(Rescaling(points=5, steps=25, probes=3).measure(model, images, labels, seed=0))
    values, arrays = found.values, found.arrays
    assert (values["layer"], values["norm_layer"]) == ("conv1", "bn1")
    assert values["max_change"] < 1e-12
    assert values["changed_predictions"] == 0
    np.testing.assert_allclose(arrays["factor"], [0.01, 0.1, 1, 10, 100])
    assert values["lambda_max_ratio"] > 100 and values["trace_ratio"] > 100
    for name in set(RESCALED) - {"lambda_max", "trace"} | {"fisher_rao_norm"}:
        np.testing.assert_allclose(arrays[name], arrays[name][2], rtol=1e-6, err_msg=name)
    where = Hessian(*problem("conv_net")).blocks
    for k, factor in enumerate(arrays["factor"]):
        d = torch.ones(len(hessian_of("conv_net")), dtype=torch.float64)
        for name in ("conv1.weight", "conv1.bias"):
            d[where[name]] = 1 / factor
        top = float(torch.linalg.eigvalsh(d[:, None] * hessian_of("conv_net") * d)[-1])
        assert abs(arrays["lambda_max"][k] - top) <= arrays["lambda_max_error"][k] + 1e-9 * top


def test_a_layer_that_cannot_be_rescaled_is_refused():
    model, images, labels = problem("conv_net")
    with pytest.raises(ValueError, match=r"linear cannot be rescaled.*Allowed: conv1, conv2"):
        next(Rescaling(layer="linear").measure(model, images, labels, seed=0))
    assert (
        last(Rescaling(layer="conv2", points=3).measure(model, images, labels, seed=0)).values[
            "norm_layer"
        ]
        == "bn2"
    )


# Fisher


@pytest.mark.parametrize("name", list(cases.CASES))
def test_gram_matrix_gives_the_whole_fisher_spectrum(name):
    model, images, labels = problem(name)
    true = torch.linalg.eigvalsh(fisher_of(name)).numpy()
    found = last(FisherSpectrum().measure(model, images, labels, seed=0))
    values, arrays = found.values, found.arrays
    assert values["method"] == "gram"
    kept = len(arrays["eigenvalues"])
    assert kept == min(len(images) * 3, len(true))
    np.testing.assert_allclose(arrays["eigenvalues"], true[-kept:], atol=1e-9)
    assert np.abs(true[:-kept]).max(initial=0) < 1e-9
    assert abs(values["fisher_lambda_max"] - true[-1]) < 1e-9
    assert values["fisher_trace"] == pytest.approx(true.sum())
    assert values["fisher_trace_stderr"] == 0
    assert arrays["layer_trace"].sum() == pytest.approx(true.sum())
    assert (
        wasserstein(arrays["nodes"], arrays["weights"], true, np.full(len(true), 1 / len(true)))
        < 1e-9
    )
    assert arrays["weights"].sum() == pytest.approx(1)


def test_lanczos_and_gram_agree():
    model, images, labels = problem("conv_net")
    gram, krylov = (
        last(FisherSpectrum(method=method, steps=30).measure(model, images, labels, seed=0))
        for method in ("gram", "lanczos")
    )
    assert krylov.values["method"] == "lanczos"
    assert krylov.values["fisher_lambda_max"] == pytest.approx(gram.values["fisher_lambda_max"])
    for name in ("layers", "layer_size"):
        np.testing.assert_array_equal(gram.arrays[name], krylov.arrays[name])
    gap = np.abs(gram.arrays["layer_trace"] - krylov.arrays["layer_trace"])
    assert (gap <= 4 * krylov.arrays["layer_trace_stderr"] + 1e-9).all()


def test_the_method_follows_the_size(monkeypatch):
    model, images, labels = problem("conv_net")
    monkeypatch.setattr(fisher_spectrum, "MOST_ROWS", 32)  # 11 images x 3
    assert (
        next(FisherSpectrum().measure(model, images, labels, seed=0)).values["method"] == "lanczos"
    )
    assert (
        next(FisherSpectrum().measure(model, images[:10], labels[:10], seed=0)).values["method"]
        == "gram"
    )
    monkeypatch.setattr(fisher_spectrum, "MOST_BYTES", 1000)
    assert (
        next(FisherSpectrum().measure(model, images[:10], labels[:10], seed=0)).values["method"]
        == "lanczos"
    )
    with pytest.raises(ValueError, match="Choose method = lanczos"):
        next(FisherSpectrum(method="gram").measure(model, images, labels, seed=0))


@pytest.mark.parametrize("name", ["conv_net", "residual_net"])
@pytest.mark.parametrize(("sampling", "names"), [("signs", None), ("labels", ["linear.weight"])])
def test_diagonal_of_the_fisher_matrix(name, sampling, names):
    model, images, labels = problem(name)
    true = oracles.dense_fisher(model, images, names).diagonal()
    mean, stderr = fisher_diagonal(
        model,
        images,
        labels,
        generator=generator(),
        names=names,
        draws=300,
        sampling=sampling,
        group=4,
    )
    assert ((mean - true).abs() <= 5.5 * stderr + 1e-12).all()
    assert abs(float((mean - true).sum())) < 0.05 * float(true.sum())
    with pytest.raises(ValueError, match="draws = 1"):
        fisher_diagonal(model, images, labels, generator=generator(), draws=1)


@pytest.mark.parametrize("name", list(cases.CASES))
def test_empirical_and_last_layer_traces_are_exact(name):
    model, images, labels = problem(name)
    values = last(FisherTrace(draws=2).measure(model, images, labels, seed=0)).values
    dense = oracles.dense_outer_products(model, images, labels[:, None])
    assert values["empirical_trace"] == pytest.approx(float(dense.trace()), rel=1e-9)
    names = [key for key, _ in model.named_parameters()][-2:]
    last_layer = oracles.dense_fisher(model, images, names)
    assert values["last_layer_trace"] == pytest.approx(float(last_layer.trace()), rel=1e-9)
    without = last(
        FisherTrace(draws=2, empirical=False).measure(model, images, labels, seed=0)
    ).values
    assert "empirical_trace" not in without


def test_chunks_of_images_change_nothing(monkeypatch):
    model, images, labels = problem("conv_net")
    measurements = (Sharpness(**SHORT), FisherTrace(draws=2), FisherSpectrum())
    before = [last(m.measure(model, images, labels, seed=0)).values for m in measurements]
    for module, name in ((gradients, "_IMAGES"), (gradients, "FORWARD_CHUNK")):
        monkeypatch.setattr(module, name, 4)
    for m, values in zip(measurements, before, strict=True):
        for key, value in last(m.measure(model, images, labels, seed=0)).values.items():
            if isinstance(value, float) and key != "seconds":
                assert value == pytest.approx(values[key], rel=1e-9), key


# Promises and bad input


@pytest.mark.parametrize("measurement", NEW, ids=lambda m: type(m).__name__)
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
    "measurement", [Sharpness, FisherSpectrum, FisherTrace, HessianSpectrum, Rescaling]
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
    "measurement", [Sharpness(**SHORT), FisherSpectrum(), FisherTrace(draws=3)]
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


def test_a_saturated_model_is_flat_and_no_error():
    model, images, _ = problem("conv_net")
    sure = copy.deepcopy(model).eval()
    with torch.no_grad():
        sure.linear.weight.mul_(1e6)
        labels = sure(images).argmax(1)
    values = last(Sharpness(**SHORT).measure(sure, images, labels, seed=0)).values
    for name, value in values.items():
        assert not isinstance(value, float) or np.isfinite(value), name


def test_a_note_says_that_memory_ran_out(monkeypatch):
    class Short(Hessian):
        def _graph(self, images, labels):
            if len(images) > 3:
                raise torch.OutOfMemoryError("out of memory")
            return super()._graph(images, labels)

    model, images, labels = problem("conv_net")
    plain = last(HessianSpectrum(steps=5, probes=3).measure(model, images, labels, seed=0)).values
    monkeypatch.setattr(hessian_spectrum, "Hessian", Short)
    values = last(HessianSpectrum(steps=5, probes=3).measure(model, images, labels, seed=0)).values
    assert "in chunks of 2 images" in values["note"]
    assert "note" not in plain
    assert values["trace"] == pytest.approx(plain["trace"])


def test_lanczos_stops_once_the_eigenvalue_is_certain():
    model, images, labels = problem("conv_net")
    top = float(torch.linalg.eigvalsh(hessian_of("conv_net"))[-1])
    partials = list(
        HessianSpectrum(steps=40, tolerance=0.01).measure(model, images, labels, seed=0)
    )
    values = partials[-1].values
    assert 8 <= len(partials[-1].arrays["eigenvalues"]) < 20
    assert abs(values["lambda_max"] - top) <= values["lambda_max_error"] <= 0.01 * top
    assert [p.fraction for p in partials] == sorted(p.fraction for p in partials)
    assert (
        partials[-1].done and values["num_hvps"] == 2 * len(partials[-1].arrays["eigenvalues"]) + 20
    )


def test_fisher_rao_needs_no_cached_graphs():
    operator = GaussNewton(*problem("conv_net"), cache_bytes=0)
    operator @ operator.parameters
    assert not operator._graphs
