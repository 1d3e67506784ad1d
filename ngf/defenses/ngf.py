"""NGF: natural gradient fine-tuning of one layer (Karim et al. 2023, arXiv 2306.17441).

    theta <- theta - lr * momentum[(F + damping I)^-1 grad(CE + (eta / 2) sum_i F_ii (theta_i -
    theta0_i)^2)]

All layers but one are frozen. F is the *true* Fisher of that layer: labels come from the model,
never from the data. For a last linear layer F is exact and the step solves the system by conjugate
gradients; for any other layer F is Kronecker-factored (K-FAC). A step is shortened where its KL,
(lr^2 / 2) v^T F v, exceeds the trust region. F_ii in the regularizer is the diagonal Fisher on the
clean images at the start.

Changed: the released code tunes all layers and has no regularizer (see `ngf_as_released`); this
follows the text. For K-FAC the regularizer acts through its gradient alone; the exact step also
holds its curvature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ngf.data.images import to_float
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.loop import Batch, Direction, FineTuning, Rule
from ngf.models import Layer, Tuned
from ngf.optim.kfac import KFAC, SHARING, diagonal_fisher, sampled_output_gradients
from ngf.optim.natural_gradient import SoftmaxFisher, solve, with_ones
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class NGF(FineTuningDefense):
    """Natural gradient fine-tuning: small steps in what the model predicts, large ones where clean
    data does not care.
    """

    title: ClassVar[str] = "NGF (natural gradient)"
    tunes_norms: ClassVar[bool] = False
    needs_factors: ClassVar[bool] = True
    lr_grid: ClassVar[tuple[float, ...]] = (0.1, 0.03, 0.01, 0.003, 0.001)
    # option -> what its default was in specifications of an earlier revision (see `ngf.config`)
    former: ClassVar[Mapping[str, Any]] = {"augmentation": "weak", "rates": "grid"}
    layer: str = options.layer("fisher")
    lr: float = option(0.01, options.LR_HELP, ge=0.0, le=10.0)
    steps: int = options.steps()
    batch_size: int = options.batch_size()
    damping: float = option(1e-3, "Added to every eigenvalue of F.", ge=1e-8, le=10.0, expert=True)
    trust_region: float = option(
        0.01, "Largest KL divergence of one step.", ge=1e-6, le=100.0, expert=True
    )
    regularizer: float = option(
        0.1,
        "Weight eta of the pull back to the start, scaled by the clean Fisher.",
        ge=0.0,
        le=1000.0,
    )
    momentum: float = options.momentum()
    batch_norm: str = options.batch_norm()
    augmentation: str = options.augmentation()
    rates: str = options.rates()
    factor_period: int = option(
        10, "Steps between updates of the K-FAC factors.", ge=1, le=1000, expert=True
    )
    inverse_period: int = option(
        50, "Steps between new eigenbases of the factors.", ge=1, le=1000, expert=True
    )
    sharing: str = option(
        "expand",
        "How K-FAC treats pixels or tokens that share weights: each apart (expand), or "
        "their mean (reduce).",
        choices=SHARING,
        expert=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        """Exact for the classifier alone, Kronecker-factored for anything else."""
        # never a BatchNorm, see `tunes_norms`
        own = {name: layer for name, layer in layers.items() if isinstance(layer, Layer)}
        linear = all(isinstance(layer, nn.Linear) for layer in own.values())
        return ExactRule(self, own) if linear and list(own) == [last] else KFACRule(self, own)


class _NaturalRule:
    """What the exact and the Kronecker-factored step share: regularizer, trust region, momentum."""

    def __init__(self, settings: NGF, layers: Mapping[str, Layer]) -> None:
        self.settings, self.layers = settings, dict(layers)
        self.diagonal: dict[str, Tensor] = {}

    def begin(self, tuning: FineTuning) -> None:
        self.tuning = tuning
        if self.settings.regularizer:
            rng = torch.Generator().manual_seed(tuning.seed)
            self.diagonal = diagonal_fisher(
                tuning.model.eval(), self.layers, to_float(tuning.clean.images), rng
            )

    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        return torch.optim.SGD(parameters, lr, momentum=self.settings.momentum)

    def pulled(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients with that of the regularizer: + eta F_ii (theta - theta0)."""
        if not self.diagonal:
            return dict(gradients)
        now, eta = self.tuning.weights(), self.settings.regularizer
        return {
            name: g + eta * self.diagonal[name] * (now[name] - self.tuning.start[name])
            for name, g in gradients.items()
        }

    def finish(
        self, steps: dict[str, Tensor], form: float, lr: float, trace: float | None
    ) -> Direction:
        """Scale to the trust region, (lr^2 / 2) v^T F v <= limit; momentum comes after."""
        kl = 0.5 * lr * lr * form
        scale = min(1.0, math.sqrt(self.settings.trust_region / kl)) if kl > 0 else 1.0
        if scale < 1:
            steps = {name: scale * step for name, step in steps.items()}
        return Direction(
            steps,
            kl=kl * scale * scale,
            damping=self.settings.damping,
            fisher_trace=trace,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"diagonal": self.diagonal}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.diagonal = dict(state["diagonal"])


class ExactRule(_NaturalRule):
    """The exact step for the last linear layer, from the features of the batch."""

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        (name,) = self.layers
        with torch.no_grad():
            fisher = SoftmaxFisher(with_ones(batch.tap.inputs[name]), batch.logits.softmax(1))
            gradient = self.pulled(batch.gradients)[name]
            extra = self.settings.regularizer * self.diagonal[name] if self.diagonal else None
            step_matrix = solve(
                fisher, gradient, damping=self.settings.damping, extra_diagonal=extra
            ).value
            form = (step_matrix * (fisher @ step_matrix)).sum().item()
            return self.finish({name: step_matrix}, form, lr, fisher.trace().item())


class KFACRule(_NaturalRule):
    """The Kronecker-factored step for any set of layers."""

    def __init__(self, settings: NGF, layers: Mapping[str, Layer]) -> None:
        super().__init__(settings, layers)
        self.kfac = KFAC(layers, damping=settings.damping, sharing=settings.sharing)

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        if step % self.settings.factor_period == 0:
            self.kfac.update(
                batch.tap, sampled_output_gradients(batch.tap, batch.logits, batch.rng)
            )
        if step % self.settings.inverse_period == 0:
            self.kfac.invert()
        with torch.no_grad():
            steps = {
                name: self.kfac.precondition(name, gradient)
                for name, gradient in self.pulled(batch.gradients).items()
            }
            form = sum(self.kfac.quadratic_form(name, step).item() for name, step in steps.items())
        return self.finish(steps, form, lr, None)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "kfac": self.kfac.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.kfac.load_state_dict(state["kfac"])
