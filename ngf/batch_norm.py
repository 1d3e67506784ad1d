"""The running statistics of BatchNorm, estimated anew for weights that they do not belong to."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim.swa_utils import update_bn


def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every BatchNorm of `model`, in place, to the plain mean over
    `batches` of the statistics of each batch.

    batches: float (N, C, H, W) in [0, 1] on the model's device. A shorter last batch counts as much
        as any other. Torch raises ValueError for a batch with a single value per channel.

    The forward passes run in train mode, as `torch.optim.swa_utils.update_bn` has it; the networks
    of this project draw no random numbers there. Afterwards the model is in eval mode and every
    layer has its own momentum again. Layers without running statistics have nothing to estimate.
    """
    update_bn(batches, model)
    model.eval()
