"""Directions: as long as the filters, orthogonal, and coordinates in a plane."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.landscape.directions import cosine, filter_normalized, orthogonal_to, project
from analysis.landscape.planes import random_planes
from analysis.model_under_test import frozen_copy
from tests.helpers import cases
from tests.helpers.streams import generator


@pytest.mark.parametrize("case", ["conv_net", "residual_net", "one_layer"])
def test_directions_are_as_long_as_the_filters(case):
    model, _, _ = cases.CASES[case]()
    direction = filter_normalized(model, generator())
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert not direction[name].any(), name
            continue
        for row, filter in zip(direction[name], weight, strict=True):
            assert float(row.norm()) == pytest.approx(float(filter.detach().norm()), rel=1e-12)


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
