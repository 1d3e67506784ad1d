"""BTI-DBF(U), backdoor trigger inversion by decoupling benign features (Xu et al. 2024, ICLR): find
the features that clean images need, then what changes the others, and unlearn that.

`ngf.defenses.unlearning.decoupling` has the three phases of a round in formulas. A generator that
moves the features which clean images do not need makes what may be triggered images, of any shape.

The release's budget (github xuxiong0214/BTIDBF) is 5 rounds of 20, 30 and 30 epochs over 5 % of
CIFAR-10, the unlearning with Adam at 0.0001, where a tenth of a batch goes through the generator,
which 50 epochs taught to leave images as they are before.

Changed: features are those that enter the classifier, which every network has, not the map before
they are averaged; the first phase then takes no time. The mask begins at 0. BatchNorm keeps its
statistics throughout (the release lets it follow the batch in the first phase). The generator is a
small U-Net whose change is added to the image, so that it need not be taught to leave it as it is.
The bound on its change is the release's 0.3 for normalized images, in units of plain ones. The
strength is the learning rate of the unlearning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ngf.defenses.budget import Budget
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.options import augmentation, batch_size
from ngf.defenses.unlearning import decoupling, options
from ngf.defenses.unlearning.decoupling import DecoupledUnlearning, DecouplingDefense
from ngf.options import check_fields


@dataclass(frozen=True, kw_only=True)
class BTIDBF(DecouplingDefense):
    """Finds features that clean images do not need, makes images that move them, and unlearns."""

    title: ClassVar[str] = "BTI-DBF (decoupled benign features)"
    usual: ClassVar[float] = 1e-3
    rho: ClassVar[float] = 0.0  # type: ignore[misc]  # see `pam`
    paper: ClassVar[Budget] = Budget(
        "github xuxiong0214/BTIDBF, 2,500 images: 5 rounds of 20, 30 and 30 epochs are "
        "400, 600 and 600 steps of 128 (its size of a batch is not known); share "
        "0.1, benign bound 3, benign weight 0.01.",
        {
            "lr": 0.0001,
            "rounds": 5,
            "mask_steps": 400,
            "search_steps": 600,
            "unlearn_steps": 600,
            "share": 0.1,
            "benign_bound": 3.0,
            "benign_weight": 0.01,
            "batch_size": 128,
        },
    )
    lr: float = options.lr(1e-3)
    rounds: int = options.rounds(3)
    mask_steps: int = decoupling.mask_steps_option()
    search_steps: int = options.search_steps(40, "train the generator")
    unlearn_steps: int = options.unlearn_steps(30)
    share: float = options.share(0.1, "the generator's change while it is unlearned")
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
