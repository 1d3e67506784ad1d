"""The largest eigenvalue of each mini-batch, against dense Hessians."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.curvature.operators import Hessian
from analysis.measurements import batch_eigenvalue
from analysis.measurements.batch_eigenvalue import BatchEigenvalue
from tests.helpers import cases, oracles
from tests.helpers.streams import last


def test_each_batch_has_the_eigenvalue_of_its_dense_hessian():
    model, images, labels = cases.conv_net(num_images=13)
    true = [
        float(
            torch.linalg.eigvalsh(
                oracles.dense_hessian(model, images[i : i + 3], labels[i : i + 3])
            )[-1]
        )
        for i in range(0, 12, 3)
    ]
    partials = list(BatchEigenvalue(batch=3).measure(model, images, labels, seed=0))
    counts = [p.values["num_batches"] for p in partials]
    assert counts == sorted(counts) and counts[-4:] == [1, 2, 3, 4]  # one image is left over
    bounds = [p.values["batch_lambda_max_bound"] for p in partials if p.values["num_batches"] == 1]
    assert len(bounds) > 2 and bounds[0] > bounds[-1]  # seen from the first product on
    values, arrays = partials[-1].values, partials[-1].arrays
    error = np.abs(arrays["lambda_max"] - true)
    assert (error <= arrays["lambda_max_error"]).all()
    assert (arrays["lambda_max_error"] <= 0.02 * np.array(true)).all()
    assert values["batch_lambda_max_bound"] <= 0.02
    assert values["batch_lambda_max_mean"] == pytest.approx(np.mean(true), rel=0.02)
    assert values["batch_lambda_max_median"] == pytest.approx(np.median(true), rel=0.02)
    assert values["batch_lambda_max_mean_stderr"] == pytest.approx(
        np.std(true, ddof=1) / 2, rel=0.1
    )
    # Jensen: on all of them together it is smaller
    whole = torch.linalg.eigvalsh(oracles.dense_hessian(model, images[:12], labels[:12]))[-1]
    assert values["batch_lambda_max_mean"] >= float(whole)


def test_fewer_images_than_a_batch_are_one():
    model, images, labels = cases.conv_net()
    found = last(BatchEigenvalue().measure(model, images, labels, seed=0))
    assert found.values["num_batches"] == 1 and found.values["batch_images"] == 11
    assert found.values["batch_lambda_max_mean_stderr"] is None
    assert found.values["batch_lambda_max_median"] == found.arrays["lambda_max"][0]


def test_chunks_inside_a_batch_change_nothing_and_a_note_tells_of_them(monkeypatch):
    class Short(Hessian):
        def _graph(self, images, labels):
            if len(images) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return super()._graph(images, labels)

    problem = cases.conv_net()
    plain = last(BatchEigenvalue(batch=5).measure(*problem, seed=1))
    monkeypatch.setattr(batch_eigenvalue, "Hessian", Short)
    found = last(BatchEigenvalue(batch=5).measure(*problem, seed=1))
    assert "note" not in plain.values and "Memory ran out" in found.values["note"]
    np.testing.assert_allclose(found.arrays["lambda_max"], plain.arrays["lambda_max"], rtol=1e-9)
