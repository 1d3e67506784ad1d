"""PAM, path-aware minimization (Min et al. 2024, arXiv 2410.09838): unlearn as BTI-DBF does, with
each gradient taken on the way back to the backdoored model.

    g = gradient of the unlearning loss at  w + rho (w0 - w) / |w0 - w|
    w <- w - Adam(g)

w0 are the weights as they came, |.| is the length over all weights. A model that was purified may
lie so near to the backdoored one that a few poisoned images bring the backdoor back; a gradient
that sees the loss on the way there pushes it further off.

The release's budget (github Backdoor_Safety_Tuning, fine_tune/BTIDBF) is 3 rounds of 30
epochs, rho 0.5, and a fifth of a batch through the generator.

Changed: what `bti_dbf` says of the generator and the mask, and that the step back ends at w0, which
matters as long as the weights are nearer to it than rho: past it lies no path between the two. The
strength is the learning rate of the unlearning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.options import augmentation, batch_size
from ngf.defenses.unlearning import decoupling, options
from ngf.defenses.unlearning.decoupling import DecoupledUnlearning, DecouplingDefense
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class PAM(DecouplingDefense):
    """Unlearns as BTI-DBF does, with gradients taken on the way back to the model as it came."""

    title: ClassVar[str] = "PAM (path-aware minimization)"
    usual: ClassVar[float] = 1e-3
    lr: float = options.lr(1e-3)
    rho: float = option(
        0.5,
        "How far back towards the model as it came a gradient is taken, as length over all "
        "weights; 0 is BTI-DBF with another share.",
        ge=0.0,
        le=1e4,
    )
    rounds: int = options.rounds(3)
    mask_steps: int = decoupling.mask_steps_option()
    search_steps: int = options.search_steps(40, "train the generator")
    unlearn_steps: int = options.unlearn_steps(30)
    share: float = options.share(0.2, "the generator's change while it is unlearned")
    size: float = decoupling.size_option()
    benign_bound: float = decoupling.benign_bound_option()
    benign_weight: float = decoupling.benign_weight_option()
    batch_size: int = batch_size()
    batch_norm: str = options.batch_norm("eval")
    augmentation: str = augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> DecoupledUnlearning:
        """Raises SpecError where no linear layer makes the logits."""
        return DecoupledUnlearning(self, problem)
