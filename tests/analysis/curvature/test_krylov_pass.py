"""One pass: layer by layer, and as short as it may be."""

from __future__ import annotations

import pytest

from analysis.curvature.krylov_pass import krylov_pass
from analysis.curvature.operators import Hessian
from tests.helpers import cases
from tests.helpers.oracles import hessian_of, problem
from tests.helpers.streams import generator

CASES = list(cases.CASES)


@pytest.mark.parametrize("name", CASES)
def test_layer_traces(name):
    model, images, labels = problem(name)
    operator, diagonal = Hessian(model, images, labels), hessian_of(name).diagonal()
    steps = 52 if name == "one_layer" else 15  # all of them: exact
    *_, known = krylov_pass(operator, generator(1), steps=steps, probes=60)
    arrays = known.arrays()
    assert list(arrays["layers"]) == list(
        dict.fromkeys(key.rpartition(".")[0] or "model" for key, _ in model.named_parameters())
    )
    for k, layer in enumerate(arrays["layers"]):
        true = sum(
            float(diagonal[where].sum())
            for key, where in operator.blocks.items()
            if (key.rpartition(".")[0] or "model") == layer
        )
        assert abs(arrays["layer_trace"][k] - true) <= 4 * arrays["layer_trace_stderr"][k] + 1e-9
    assert arrays["layer_trace_stderr"].any() == (name != "one_layer")
    assert arrays["layer_size"].sum() == operator.size
    assert arrays["layer_trace"].sum() == pytest.approx(known.trace.value)


def test_layers_must_not_be_torn_apart():
    model, images, labels = problem("conv_net")
    operator = Hessian(model, images, labels, names=["conv1.weight", "bn1.weight", "conv1.bias"])
    with pytest.raises(ValueError, match="The parameters of conv1 are not next to each other"):
        next(krylov_pass(operator, generator(), steps=3, probes=2))
