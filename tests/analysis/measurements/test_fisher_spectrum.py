"""The Fisher spectrum by both methods against the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from analysis.measurements import fisher_spectrum
from analysis.measurements.fisher_spectrum import FisherSpectrum
from tests.helpers import cases
from tests.helpers.oracles import fisher_of, problem
from tests.helpers.streams import last


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
    assert wasserstein_distance(arrays["nodes"], true, arrays["weights"]) < 1e-9
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
