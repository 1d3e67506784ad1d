"""BatchNorm that sums over processes, in the only process that there is; `test_team` has three."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from ngf.training.batch_norm import synchronize


@pytest.fixture
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("momentum", [0.1, None, 0.0])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4), (4, 3, 5, 2)])
def test_it_is_torchs_own_where_nobody_else_is(alone, shape, affine, momentum):
    torch.manual_seed(0)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    mine = nn.Sequential(kind(3, momentum=momentum, affine=affine)).double()
    for parameter in mine.parameters():
        nn.init.normal_(parameter)
    other = copy.deepcopy(mine)
    synchronize(mine)
    assert mine.state_dict().keys() == other.state_dict().keys()
    for _ in range(3):
        x = (3 + 2 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
        weight, found = torch.randn(shape, dtype=torch.float64), []
        for model in (mine, other):
            out = model(x)
            wanted = [x, *model.parameters()]
            found.append([out, *torch.autograd.grad((out.exp() * weight).sum(), wanted)])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(mine.state_dict(), other.state_dict())
    torch.testing.assert_close(mine.eval()(x), other.eval()(x))
