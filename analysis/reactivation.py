"""Whether a purified model has forgotten a backdoor, or only stopped to show it.

The retuning attack of Min et al. 2024 (arXiv 2410.09838): the purified model is tuned once more on
the defender's clean images and five that carry the trigger and the label that the attacker wants,
for 5 epochs (SGD, rate 0.01, momentum 0.9, batches of 128, no augmentation). What the attack
success rate is after that says how near the backdoor still was, less what the same tuning teaches
a benign network: next to nothing of most attacks, much of some (`evidence.arena_taught`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from analysis.reactivation_words import EPOCHS, POISONED, missing, taught
from ngf.attacks.base import Attack
from ngf.attacks.poison import Triggered, trigger_test_set
from ngf.checkpoints.weights import load_attack, training_of
from ngf.data import load
from ngf.data.base import WithTriggered
from ngf.data.images import Images, to_float
from ngf.data.splits import Splits
from ngf.evaluate import test_set
from ngf.finite import check_weights
from ngf.options import SpecError
from ngf.runs.store import PurifyRun, Store

_LR, _MOMENTUM, _BATCH = 0.01, 0.9, 128


@dataclass(frozen=True)
class Material:
    """What a purified model is tuned on once more, and what it is asked afterwards.

    clean: the defender's images.
    poisoned: images with the trigger, labeled with the class that the attacker wants.
    held: others with the trigger, labeled in the same way, that nothing is tuned on.
    """

    clean: Images
    poisoned: Images
    held: Images

    def to(self, device: torch.device | str) -> Material:
        return Material(self.clean.to(device), self.poisoned.to(device), self.held.to(device))


def poisoned(splits: Splits, attack: Attack, seed: int, count: int = POISONED) -> Images:
    """So many training images that count for the attack, with its trigger and the label that it
    wants.
    """
    train, rng = splits.train, torch.Generator().manual_seed(seed)
    places = attack.asr_mask(train.labels).nonzero()[:, 0]
    drawn = places[torch.randperm(len(places), generator=rng)[:count]]
    triggered = trigger_test_set(train.take(drawn), attack, len(splits.classes))
    return Images(triggered.data.images, triggered.wanted)


def divided(brought: Triggered, seed: int, count: int = POISONED) -> tuple[Images, Images]:
    """Images with the trigger that somebody brought: some to tune on (see `taught`), and the rest.

    Raises SpecError where no two of them are there.
    """
    tuned = taught(len(brought.wanted), count)
    if not tuned:
        raise SpecError(missing(len(brought.wanted)))
    images = Images(brought.data.images, brought.wanted)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.take(order[:tuned]), images.take(order[tuned:])


def material(store: Store, run: PurifyRun, seed: int, count: int = POISONED) -> Material:
    """For a lane of a purification: the clean images that it had; poisoned ones made by the attack
    of the training from its images, `count` of them, and all triggered test images; of an imported
    model, those that came along.

    Raises SpecError where nobody knows the trigger.
    """
    trained = training_of(store, run.id)
    spec, attack = trained.spec, load_attack(trained)
    clean = load(spec.source, seed=run.spec.seed, num_clean=run.spec.num_clean).clean
    splits = load(
        spec.source, seed=spec.seed, num_train=spec.training.num_images, revision=spec.revision
    )
    if attack.poison_rate:
        triggered = test_set(splits, attack).triggered
        assert triggered is not None
        held = Images(triggered.data.images, triggered.wanted)
        return Material(clean, poisoned(splits, attack, seed, count), held)
    source = splits.source
    found = source.triggered() if isinstance(source, WithTriggered) else None
    if found is None:
        raise SpecError(missing(0 if spec.imported else None))
    return Material(clean, *divided(Triggered(*found), seed, count))


def retuned(
    model: nn.Module, clean: Images, bad: Images, seed: int, epochs: int = EPOCHS
) -> Iterator[nn.Module]:
    """A copy of the model under the attack, in eval mode, after each epoch. Deterministic for the
    seed, dropout included.

    Raises Diverged when a weight is no longer a finite number.
    """
    model = copy.deepcopy(model).requires_grad_(True)
    kind = next(model.parameters()).dtype
    images = torch.cat([clean.images, bad.images])
    labels = torch.cat([clean.labels, bad.labels])
    optimizer = torch.optim.SGD(model.parameters(), _LR, momentum=_MOMENTUM)
    rng = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        model.train()
        with torch.random.fork_rng():
            torch.manual_seed(seed + epoch)
            for index in torch.randperm(len(images), generator=rng).split(_BATCH):
                if len(index) > 1:  # BatchNorm has no statistics of a single image
                    optimizer.zero_grad()
                    logits = model(to_float(images[index]).to(kind))
                    F.cross_entropy(logits, labels[index]).backward()
                    optimizer.step()
        check_weights(model.state_dict())
        yield model.eval()


def reactivated(model: nn.Module, clean: Images, bad: Images, seed: int) -> nn.Module:
    """A copy of the model after the attack, in eval mode. Deterministic for the seed."""
    *_, last = retuned(model, clean, bad, seed)
    return last
