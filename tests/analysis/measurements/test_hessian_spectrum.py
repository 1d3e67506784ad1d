"""The Hessian spectrum of small networks against the dense matrix."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import wasserstein_distance

from analysis.curvature.operators import Hessian
from analysis.measurements import hessian_spectrum
from analysis.measurements.hessian_spectrum import HessianSpectrum
from tests.helpers.oracles import hessian_of, problem
from tests.helpers.streams import last


def test_spectrum_of_a_network():
    matrix = hessian_of("conv_net")
    true = torch.linalg.eigvalsh(matrix).numpy()
    partials = list(
        HessianSpectrum(steps=20, probes=20, vectors=4).measure(*problem("conv_net"), seed=0)
    )
    for partial in partials:
        assert abs(partial.arrays["weights"].sum() - 1) < 1e-12
        assert partial.values["lambda_max"] <= true[-1] + 1e-9
        if partial.values["trace"] is not None:
            assert abs(partial.values["trace"] - true.sum()) < 5 * partial.values["trace_stderr"]
    values, arrays = partials[-1].values, partials[-1].arrays
    assert abs(values["lambda_max"] - true[-1]) <= values["lambda_max_error"]
    assert abs(values["lambda_min"] - true[0]) <= values["lambda_min_error"]
    assert values["num_hvps"] == 100
    assert len(arrays["nodes"]) == 80
    assert len(arrays["eigenvalues"]) == 20
    distance = wasserstein_distance(arrays["nodes"], true, arrays["weights"])
    assert distance < 5e-3 * (true[-1] - true[0])  # four start vectors of 20 steps


def test_spectrum_of_fewer_parameters_than_steps_is_exact():
    model, images, labels = problem("one_layer")
    result = last(HessianSpectrum(steps=100, vectors=1).measure(model, images, labels, seed=0))
    assert result.done
    assert result.values["num_hvps"] == 52
    assert abs(result.values["trace"] - float(hessian_of("one_layer").trace())) < 1e-12
    assert result.values["trace_stderr"] == 0


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
