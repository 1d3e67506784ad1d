"""The second engine: PyHessian on the same weights and images agrees with the dense Hessian."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from analysis.measurements.pyhessian_check import PyHessianCheck
from tests.helpers import cases, oracles


@pytest.fixture(scope="module")
def measured():
    model, images, labels = cases.conv_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    partials = list(PyHessianCheck(tolerance=1e-5).measure(model, images, labels, seed=0))
    assert torch.equal(state, torch.get_rng_state()), "the caller's random numbers stay"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    return partials, oracles.dense_hessian(model, images, labels).numpy()


def test_it_agrees_with_the_dense_hessian(measured):
    partials, dense = measured
    values, eigenvalues = partials[-1].values, np.linalg.eigvalsh(dense)
    largest = eigenvalues[np.abs(eigenvalues).argmax()]
    assert values["lambda_max"] == pytest.approx(largest, rel=1e-2)
    assert abs(values["trace"] - np.trace(dense)) < 5 * values["trace_stderr"]
    assert values["num_hvps"] > len(partials[-1].arrays["trace_samples"])


def test_it_comes_in_parts_and_says_what_cannot_run(measured):
    partials, _ = measured
    assert partials[0].values["trace"] is None and partials[0].values["lambda_max"] is not None
    assert [partial.done for partial in partials] == [False, False, True]
    assert partials[-1].values["density_error"], (
        "its published density calls torch.eig, which is gone"
    )


def test_the_package_is_left_as_it_was(measured):
    library = sys.modules["pyhessian.hessian"]
    assert library.hessian_vector_product.__module__ == "pyhessian.utils"


def test_layers_restrict_it():
    model, images, labels = cases.conv_net()
    *_, whole = PyHessianCheck().measure(model, images, labels, seed=0)
    *_, last = PyHessianCheck(layers="linear").measure(model, images, labels, seed=0)
    assert last.values["lambda_max"] <= whole.values["lambda_max"] * 1.01
    with pytest.raises(ValueError, match="Unknown layer nonsense"):
        next(PyHessianCheck(layers="nonsense").measure(model, images, labels, seed=0))
