"""Neural Cleanse (Wang et al. 2019, IEEE Symposium on Security and Privacy): reverse a trigger for
each class, and unlearn those that are too small to be natural.

Each class gets the smallest patch that sends clean images there; a class whose patch is smaller
than the others' by an anomaly index above 2 is flagged (see `ngf.defenses.unlearning.reversal` for
both formulas). The network is then tuned on clean images of which a fifth carry a flagged trigger,
all under their true labels. Where no class is flagged, **the model is returned as it came**, and
the summary says so: that is what happens with triggers that are no small patch (blends, sinusoids,
warps), and with a benign model.

BackdoorBench (config nc) reverses with up to 80 epochs on 2,500 images, and unlearns at rate 0.01
with weight decay 5e-4.

Changed: of several flagged classes each image carries one by chance. Fewer and smaller steps. The
strength is the learning rate of the unlearning; where it is chosen, that is between search and
unlearning, by triggers that were reversed once, on all clean images: a trigger is one picture for
all, and knows nothing of an image's label.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Event, Problem, Step
from ngf.defenses.fine_tuning.descent import scheduled
from ngf.defenses.fine_tuning.loop import few
from ngf.defenses.fine_tuning.options import augmentation, batch_size, momentum, schedule
from ngf.defenses.strength import choose, highest
from ngf.defenses.unlearning import options
from ngf.defenses.unlearning.loop import (
    Unlearning,
    UnlearningDefense,
    UnlearningStep,
    carriers,
    clean_loss,
    share_of,
)
from ngf.defenses.unlearning.reversal import BATCH, STEPS, Reversal, anomaly
from ngf.defenses.work import Phase
from ngf.options import SpecError, check_fields, option


@dataclass(frozen=True, kw_only=True)
class NeuralCleanse(UnlearningDefense):
    """Reverses a trigger for each class, and unlearns those that are too small to be natural."""

    title: ClassVar[str] = "Neural Cleanse"
    usual: ClassVar[float] = 0.05
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("search", "search_steps", "3 * classes * min(search_batch, clean) / batch_size"),
        Phase("unlearn", "unlearn_steps", "3"),
    )
    paper: ClassVar[Budget] = Budget(
        "github SCLBD/BackdoorBench, config nc, 2,500 images: 80 epochs of search in "
        "batches of 256 are 800 steps; a share of 0.2 carries triggers. How long it "
        "unlearns is not known.",
        {
            "lr": 0.01,
            "search_steps": 800,
            "share": 0.2,
            "search_batch": 256,
            "batch_size": 256,
            "weight_decay": 0.0005,
        },
    )
    lr: float = options.lr(0.05, highest=100.0)
    threshold: float = option(
        2.0,
        "Anomaly index above which a class is flagged. Where none is, the model stays as it came.",
        ge=0.0,
        le=100.0,
    )
    search_steps: int = options.search_steps(
        STEPS, "reverse a trigger for each class, all at once", per=""
    )
    unlearn_steps: int = options.unlearn_steps(100, per="")
    share: float = options.share(0.2, "a flagged trigger while it is unlearned")
    search_batch: int = option(
        BATCH, "Clean images in one step of the search.", ge=1, le=4096, expert=True
    )
    batch_size: int = batch_size()
    momentum: float = momentum()
    weight_decay: float = option(
        5e-4, "L2 penalty on the weights while unlearning.", ge=0.0, le=1.0, expert=True
    )
    batch_norm: str = options.batch_norm("train")
    schedule: str = schedule()
    augmentation: str = augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> Cleansing:
        """Raises SpecError for fewer than three classes."""
        return Cleansing(self, problem)


@dataclass(frozen=True)
class CleansingStep(UnlearningStep):
    """smallest_mask: size of the smallest trigger so far, in pixels; None at the start."""

    smallest_mask: float | None


class Cleansing(Unlearning):
    """A Neural Cleanse in progress: the search, then the unlearning of what it flagged.

    searched: how many steps the search took; None while it goes on.
    triggers: what it found, of all classes.
    flagged: classes, the most anomalous first.
    """

    defense: NeuralCleanse

    def __init__(self, defense: NeuralCleanse, problem: Problem) -> None:
        super().__init__(defense, problem, defense.search_steps + defense.unlearn_steps)
        with torch.no_grad():
            num_classes = self.model(few(problem.clean)).shape[1]
        if num_classes < 3:
            raise SpecError(
                "Neural Cleanse compares the triggers of all classes; among fewer than three none "
                "can stand out. Choose another defense."
            )
        self.looked_at = Batches(problem, defense.search_batch, "none")
        self.reversal = Reversal(num_classes, problem.clean.shape, self.weights[0].detach())
        self.searched: int | None = None
        self.triggers = self.reversal.triggers()
        self.flagged: list[int] = []

    def prepared(self) -> Generator[Event, None, None]:
        """The rate is chosen when it is known what is unlearned, see `__iter__`."""
        yield from ()

    def __iter__(self) -> Iterator[Event]:
        steps = super().__iter__()
        while True:
            if self.flagged and not self.lr:
                self.lr, self.why = yield from choose(
                    "lr",
                    self.problem,
                    self._unlearned,
                    usual=self.defense.usual,
                    highest=highest(self.defense, "lr"),
                )
            event = next(steps, None)
            if event is None:
                return
            yield event

    def _unlearned(self, lr: float, part: Problem) -> nn.Module:
        """The model after unlearning the triggers that there are with a part of the images."""
        other = Cleansing(replace(self.defense, lr=lr), part)
        other.settled, other.step, other.searched = True, 0, 0
        other.steps = self.defense.unlearn_steps
        other.triggers, other.flagged = self.triggers, self.flagged
        for _event in other:
            pass
        return other.model

    def advance(self, rng: torch.Generator) -> float | None:
        if self.searched is None:
            self.phase = "search"
            self._search(rng)
            return None
        self.phase = "unlearn"
        return self._unlearn(rng, self.step - self.searched)

    def _search(self, rng: torch.Generator) -> None:
        images, labels = self.looked_at.draw(rng)
        self.fooled = self.reversal.advance(self.model, images, labels)
        self.triggers = self.reversal.triggers()
        done = self.step + 1
        if done == self.defense.search_steps or bool(self.reversal.done.all()):
            self.searched = done
            index = anomaly(self.triggers.sizes)
            order = index.argsort(descending=True).tolist()
            self.flagged = [k for k in order if index[k] > self.defense.threshold]
            self.steps = done + (self.defense.unlearn_steps if self.flagged else 0)

    def _unlearn(self, rng: torch.Generator, k: int) -> float:
        images, labels = self.batches.draw(rng)
        carry = carriers(images, self.defense.share, rng)
        which = torch.randint(len(self.flagged), (len(carry),), generator=rng)
        classes = torch.tensor(self.flagged)[which].to(labels.device)
        shown = images.index_copy(0, carry, self.triggers.applied(images[carry], classes))
        self.for_unlearning()
        logits = self.model(shown)
        loss = F.cross_entropy(logits, labels)
        steps = self.defense.unlearn_steps
        self.descend(self.gradients(loss), scheduled(self.lr, k, steps, self.defense.schedule))
        self.fooled = share_of(logits[carry].argmax(1) != labels[carry])
        return clean_loss(logits, labels, carry)

    def optimizer_of(self, weights: list[Tensor]) -> Optimizer:
        return torch.optim.SGD(
            weights, momentum=self.defense.momentum, weight_decay=self.defense.weight_decay
        )

    def event(self, loss: float | None) -> Step:
        smallest = self.triggers.sizes.min().item() if self.step > 0 else None
        return CleansingStep(self.step, self.steps, loss, self.phase, self.fooled, smallest)

    def did(self) -> str:
        if self.searched is None:
            return f"searched for triggers in {max(0, self.step)} steps"
        index = anomaly(self.triggers.sizes)
        limit = f"above {self.defense.threshold:g} flags a class"
        if not self.flagged:
            return (
                f"flagged no class (largest anomaly index {index.max():.1f}; {limit}) and left the "
                "model as it came"
            )
        classes = ", ".join(f"{k} (anomaly index {index[k]:.1f})" for k in self.flagged)
        words = "class" if len(self.flagged) == 1 else "classes"
        return f"flagged {words} {classes}, then {super().did()}"

    def summary(self) -> dict[str, Any]:
        about = super().summary()
        if self.searched is None:
            return about
        sizes = self.triggers.sizes
        return {
            **about,
            "flagged": self.flagged,
            "mask_sizes": [round(size, 3) for size in sizes.tolist()],
            "anomaly": [round(index, 3) for index in anomaly(sizes).tolist()],
        }

    def kept(self) -> dict[str, Any]:
        return {
            **super().kept(),
            "reversal": self.reversal.state_dict(),
            "searched": self.searched,
            "flagged": self.flagged,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        super().restore(kept)
        self.reversal.load_state_dict(kept["reversal"])
        self.triggers = self.reversal.triggers()
        self.searched, self.flagged = kept["searched"], list(kept["flagged"])
