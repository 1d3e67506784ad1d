"""Fisher traces against dense matrices, and their error bars."""

from __future__ import annotations

import pytest

from analysis.curvature.operators import Hessian
from analysis.measurements.fisher_trace import FisherTrace
from tests.helpers import cases, oracles
from tests.helpers.oracles import fisher_of, problem
from tests.helpers.streams import last


@pytest.mark.parametrize("name", ["conv_net", "residual_net"])
@pytest.mark.parametrize(("group", "sampling"), [(1, "labels"), (4, "signs"), (100, "signs")])
def test_fisher_trace_layer_by_layer(name, group, sampling):
    model, images, labels = problem(name)
    diagonal = fisher_of(name).diagonal()
    blocks = Hessian(model, images, labels).blocks
    result = last(
        FisherTrace(draws=150, group=group, sampling=sampling).measure(
            model, images, labels, seed=3
        )
    )
    error = result.values["fisher_trace_stderr"]
    assert abs(result.values["fisher_trace"] - float(diagonal.sum())) < 4 * error
    layers = list(result.arrays["layers"])
    for k, layer in enumerate(layers):
        true = sum(
            float(diagonal[where].sum())
            for parameter, where in blocks.items()
            if (parameter.rpartition(".")[0] or "model") == layer
        )
        error = result.arrays["layer_trace_stderr"][k]
        assert abs(result.arrays["layer_trace"][k] - true) <= 4.5 * error
    assert abs(result.arrays["layer_trace"].sum() - result.values["fisher_trace"]) < 1e-10
    assert result.arrays["layer_size"].sum() == len(diagonal)


@pytest.mark.parametrize("sampling", ["signs", "labels"])
def test_fisher_error_bars_are_honest(sampling):
    model, images, labels = problem("one_layer")
    true, covered = float(fisher_of("one_layer").trace()), 0
    for seed in range(200):
        measurement = FisherTrace(draws=12, group=5, sampling=sampling, empirical=False)
        values = last(measurement.measure(model, images, labels, seed=seed)).values
        covered += values["fisher_trace_low"] <= true <= values["fisher_trace_high"]
    assert 180 <= covered <= 198


def test_smaller_groups_scatter_less():
    model, images, labels = problem("conv_net")
    errors = [
        last(FisherTrace(draws=200, group=group).measure(model, images, labels, seed=0)).values[
            "fisher_trace_stderr"
        ]
        for group in (1, 11)
    ]
    assert errors[0] < 0.5 * errors[1]


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
