"""BatchNorm over the images of all processes (Ioffe, Szegedy 2015, arXiv 1502.03167, eq. of
algorithm 1), as one process has it.

Torch's `SyncBatchNorm` does it on GPUs and refuses a CPU. The one here sums over the processes in
two passes, first the mean and then the squares of what is left, so that it loses no digits.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


def synchronize(model: nn.Module) -> None:
    """Let every BatchNorm inside `model` count the images of all processes in training, in place:
    weights, running statistics and their names stay.
    """
    if any(parameter.is_cuda for parameter in model.parameters()):
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = _Synchronized  # as torch's parametrizations do: all else stays


class _Synchronized(_BatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims = [0, *range(2, x.ndim)]
        shape = (1, -1) + (1,) * (x.ndim - 2)
        values = torch.tensor([x.numel() // x.shape[1]], dtype=x.dtype)  # not the same everywhere
        sums = _AllSum.apply(torch.cat([x.sum(dims), values]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centered = x - mean.view(shape)
        variance = _AllSum.apply(centered.square().sum(dims)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        out = centered * scale.view(shape)
        return out if self.bias is None else out + self.bias.view(shape)

    def _check_input_dim(self, input: Tensor) -> None:
        """In eval mode: any number of dimensions that the layer has met in training will do."""

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        means, variances = self.running_mean, self.running_var
        if means is None or variances is None or self.num_batches_tracked is None:
            return  # none are kept
        self.num_batches_tracked.add_(1)
        count = self.num_batches_tracked.item()
        share = 1 / count if self.momentum is None else self.momentum
        means.lerp_(mean, share)
        variances.lerp_(variance, share)


class _AllSum(torch.autograd.Function):
    """A sum over the processes; backward, the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
