"""The optimizer of the paper's public code, as it computes: an eigenvalue-corrected K-FAC (EKFAC)
with quirks.

Kept apart from `kfac` because it is a record of what was run, not a method to build on:

1. factors start at the identity and follow the *empirical* Fisher (the data's labels);
2. the squared gradients behind the eigenvalues are taken in a basis whose transposes are missing
   (Q_g grad Q_a^T, while the step uses Q_g^T grad Q_a);
3. the KL clip uses lr^2 v.g, and is 1 throughout at its learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ReleasedEKFAC:
    """Preconditions the gradient (C, D+1) of one linear layer.

    Factors every `factor_period` steps, eigenbases every `inverse_period`, scales every
    `factor_period`.
    """

    def __init__(
        self,
        *,
        damping: float = 1e-3,
        decay: float = 0.95,
        kl_clip: float = 1e-2,
        factor_period: int = 10,
        inverse_period: int = 100,
    ) -> None:
        self.damping, self.decay, self.kl_clip = damping, decay, kl_clip
        self.factor_period, self.inverse_period = factor_period, inverse_period
        self.state: dict[str, Tensor] = {}

    def precondition(
        self, inputs: Tensor, output_gradients: Tensor, gradient: Tensor, *, step: int, lr: float
    ) -> Tensor:
        """inputs: (N, D+1), ones included; output_gradients: (N, C) of the *mean* loss;
        gradient: (C, D+1).
        """
        count, s = len(inputs), self.state
        if step % self.factor_period == 0:
            fresh_a = inputs.T @ inputs / count
            # The mean loss divides by the batch size; the public code multiplies it back.
            fresh_g = output_gradients.T @ output_gradients * count
            for key, fresh in (("a", fresh_a), ("g", fresh_g)):
                kept = s.get(key, torch.eye(len(fresh)).to(fresh))
                s[key] = self.decay * kept + (1 - self.decay) * fresh
        if step % self.inverse_period == 0:
            values_a, s["basis_a"] = torch.linalg.eigh(s["a"])
            values_g, s["basis_g"] = torch.linalg.eigh(s["g"])
            values_a, values_g = values_a * (values_a > 1e-10), values_g * (values_g > 1e-10)
            s["scale"] = torch.outer(values_g, values_a)
        if step % self.factor_period == 0 and step > 0:
            # Per-image gradients are outer products, so their projections are too; transposes as
            # released.
            left = (output_gradients * count) @ s["basis_g"].T
            right = inputs @ s["basis_a"].T
            fresh = left.square().T @ right.square() / count
            s["scale"] = self.decay * s["scale"] + (1 - self.decay) * fresh
        inner = s["basis_g"].T @ gradient @ s["basis_a"]
        natural = s["basis_g"] @ (inner / (s["scale"] + self.damping)) @ s["basis_a"].T
        form = (natural * gradient).sum().item() * lr * lr
        return natural * (min(1.0, math.sqrt(self.kl_clip / form)) if form > 0 else 1.0)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)
