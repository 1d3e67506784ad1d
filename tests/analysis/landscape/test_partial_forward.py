"""A network of which a part is computed once gives the numbers of the whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.landscape.loss_at import LossAt
from analysis.landscape.partial_forward import PartialForward
from analysis.landscape.planes import place, random_planes
from analysis.model_under_test import frozen_copy
from ngf.models import build
from tests.helpers import oracles
from tests.helpers.streams import generator


def modules_run(forward: PartialForward) -> int:
    """How many layers one forward pass of the first images runs."""
    run = []
    layers = [m for m in forward.network.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(lambda module, *_: run.append(module)) for m in layers]
    next(forward.logits())
    for hook in hooks:
        hook.remove()
    return len(run)


@pytest.mark.parametrize("name", ["preact_resnet_tiny", "vgg_tiny"])
def test_a_part_gives_the_numbers_of_the_network(name):
    torch.manual_seed(0)
    model = build(name, 12).eval().requires_grad_(False)
    images = torch.rand(20, 3, 32, 32)
    counts = []
    for layer, module in model.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        forward = PartialForward(model, images, [f"{layer}.weight"])
        counts.append(modules_run(forward))
        forward.state[f"{layer}.weight"].mul_(1.3)
        part, whole = (
            next(forward.logits()),
            forward.network(images.contiguous(memory_format=torch.channels_last)),
        )
        assert torch.equal(part, whole)
        assert (forward.head is not None) == (layer == "linear")
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 1


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
    model = _Odd(kind).double().eval()
    images, labels = torch.rand(6, 3, 8, 8).double(), torch.arange(6) % 4
    frozen = frozen_copy(model, images, labels)
    forward = PartialForward(frozen, images, ["linear.weight"])
    assert modules_run(forward) == 2  # both of its layers
    plane = random_planes(frozen, generator(), ["linear.weight"], 1)[0]
    found = LossAt(frozen, images, labels, plane.moving)(
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
