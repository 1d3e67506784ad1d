"""Curvature for the pixels: what is told of all images together."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.measurements import input_curvature
from analysis.measurements.input_curvature import InputCurvature
from tests.helpers import cases, oracles
from tests.helpers.streams import last


def test_mean_median_and_quantiles_are_those_of_the_dense_matrices():
    model, images, labels = oracles.problem("conv_net")
    matrices = oracles.input_hessians_of("conv_net").numpy()
    top = np.linalg.eigvalsh(matrices)[:, -1]
    trace = np.trace(matrices, axis1=1, axis2=2)
    found = last(InputCurvature().measure(model, images, labels, seed=0))
    for name, true in (("input_lambda_max", top), ("input_trace", trace)):
        assert found.values[f"{name}_mean"] == pytest.approx(true.mean(), rel=1e-9)
        assert found.values[f"{name}_median"] == pytest.approx(np.median(true), rel=1e-9)
        error = true.std(ddof=1) / np.sqrt(11)
        assert found.values[f"{name}_mean_stderr"] == pytest.approx(error, rel=1e-9)
        np.testing.assert_allclose(
            found.arrays[f"{name}_quantile"], np.quantile(true, found.arrays["level"]), rtol=1e-9
        )
    assert found.values["input_lambda_max_bound"] < 1e-10 and found.values["num_measured"] == 11
    np.testing.assert_allclose(found.arrays["lambda_max"], top, rtol=1e-9)


@pytest.mark.parametrize("case", ["conv_net", "no_batch_norm"])
def test_pieces_of_another_size_change_nothing(case, monkeypatch):
    problem = cases.CASES[case]()
    whole = last(InputCurvature(steps=3).measure(*problem, seed=4))
    monkeypatch.setattr(input_curvature, "_CHUNK", 1)
    partials = list(InputCurvature(steps=3).measure(*problem, seed=4))
    assert len(partials) == len(problem[1])
    for key, value in partials[-1].arrays.items():
        np.testing.assert_allclose(value, whole.arrays[key], rtol=1e-9, atol=1e-12, err_msg=key)
    assert partials[0].values["input_trace_mean_stderr"] is None
    assert [p.values["num_measured"] for p in partials] == list(range(1, len(partials) + 1))
