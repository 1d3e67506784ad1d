"""Random residuals whose backward pass samples the true Fisher information, and its diagonal.

F = E_x E_{y ~ p(. | x)} g g^T with g the gradient of -log p(y | x) = J^T (p - e_y), J the Jacobian
of the logits. For independent random u_i of mean zero and covariance diag p_i - p_i p_i^T the cross
terms of a sum over images vanish: E (sum_i J_i^T u_i)^2 = n diag F, so one ordinary backward pass
gives an unbiased sample (the Gauss-Newton-Bartlett estimator, Liu et al. 2023, arXiv 2305.14342).
Two ways to draw u:

    labels  u = p - e_y, y ~ p                        as published; a rare label of a sure network
    weighs a lot signs   u = S z, z = +-1, S S^T = diag p - p p^T with S triangular (Tanabe, Sagae
    1992): no rare events,
            and no scatter at all from an image that hesitates between two classes
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from analysis.model_under_test import exact_float32, frozen_copy
from ngf.environment import wide


def residuals(p: Tensor, sampling: str, generator: Generator) -> Tensor:
    """Random (n, C) of mean zero and covariance diag p - p p^T in each row, for probabilities p (n,
    C).

    sampling: "signs" or "labels".
    """
    if sampling == "labels":
        uniform = torch.rand(len(p), 1, generator=generator).to(p)
        labels = (p.cumsum(1) < uniform).sum(1).clamp(max=p.shape[1] - 1)
        return p - F.one_hot(labels, p.shape[1])
    return softmax_root(p, (torch.randint(0, 2, p.shape, generator=generator) * 2 - 1).to(p))


def softmax_root(p: Tensor, z: Tensor) -> Tensor:
    """S z (n, C) with S S^T = diag p - p p^T in each row; the last entry of each row of z
    does not matter.
    """
    # Column j of the triangular root, classes by falling p and q_j = sum of p after j:
    # sqrt(p_j q_j / q_{j-1}) (e_j - sum_{i>j} p_i / q_j e_i)
    p, order = p.sort(dim=1, descending=True)
    upto = p.flip(1).cumsum(1).flip(1)  # q_{j-1}, summed from the small end: no cancellation
    after = F.pad(upto[:, 1:], (0, 1))  # q_j
    # sqrt(p_j / (q_j q_{j-1})) z_j, root by root because the product of two small q would vanish
    column = torch.where(after > 0, (p / upto).sqrt() / after.sqrt() * z, 0)
    before = F.pad(column.cumsum(1)[:, :-1], (1, 0))
    return torch.zeros_like(p).scatter(1, order, after * column - p * before)


def sampled_gradients(
    model: nn.Module,
    parameters: list[nn.Parameter],
    images: Tensor,
    sampling: str,
    group: int,
    generator: Generator,
):
    """Yield the list of J^T u, summed over `group` images, for one draw of u for each image.

    `model` is in eval mode and its parameters ask for gradients. Smaller groups scatter less.
    """
    for x in images.split(group):
        with exact_float32():
            logits = model(x)
            u = residuals(logits.detach().softmax(1), sampling, generator)
            if logits.requires_grad:
                yield torch.autograd.grad(
                    logits, parameters, u, allow_unused=True, materialize_grads=True
                )


def fisher_diagonal(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    generator: Generator,
    names: Iterable[str] | None = None,
    draws: int = 20,
    sampling: str = "signs",
    group: int = 32,
) -> tuple[Tensor, Tensor]:
    """diag F and its standard error over draws, both (P,) in float64, for the parameters `names`
    (default: all).

    The model is copied, never changed; the labels play no part. Raises ValueError as `frozen_copy`
    does, and for fewer than two draws.
    """
    if draws < 2:
        raise ValueError(f"draws = {draws} is out of range. Allowed: 2 or more, for an error bar.")
    frozen = frozen_copy(model, images, labels)
    known = dict(frozen.named_parameters())
    parameters = [known[name].requires_grad_() for name in (known if names is None else names)]
    dtype = wide(images)
    mean = torch.zeros(sum(p.numel() for p in parameters), dtype=dtype, device=images.device)
    spread = mean.clone()
    for draw in range(1, draws + 1):
        sample = torch.zeros_like(mean)
        for gradient in sampled_gradients(frozen, parameters, images, sampling, group, generator):
            sample += torch.cat([part.reshape(-1) for part in gradient]).to(dtype).square()
        sample /= len(images)
        change = sample - mean  # Welford's update: the samples need not be kept
        mean += change / draw
        spread += change * (sample - mean)
    return mean, (spread / (draws - 1) / draws).sqrt()
