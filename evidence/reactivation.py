"""Whether a purified model has forgotten a backdoor, or only stopped to show it.

The retuning attack of Min et al. 2024 (arXiv 2410.09838): the purified model is tuned once more on
the defender's clean images and five that carry the trigger and the label that the attacker wants,
for 5 epochs (SGD, rate 0.01, momentum 0.9, batches of 128, no augmentation). What the attack
success rate is after that says how near the backdoor still was. A benign network that is tuned in
this way is the yardstick: five images teach it little.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from ngf.attacks.base import Attack
from ngf.attacks.poison import trigger_test_set
from ngf.data.images import Images, to_float
from ngf.data.splits import Splits

POISONED = 5  # images
EPOCHS = 5
_LR, _MOMENTUM, _BATCH = 0.01, 0.9, 128


def poisoned(splits: Splits, attack: Attack, seed: int, count: int = POISONED) -> Images:
    """So many training images that count for the attack, with its trigger and the label that it
    wants.
    """
    train, rng = splits.train, torch.Generator().manual_seed(seed)
    places = attack.asr_mask(train.labels).nonzero()[:, 0]
    drawn = places[torch.randperm(len(places), generator=rng)[:count]]
    triggered = trigger_test_set(train.take(drawn), attack, len(splits.classes))
    return Images(triggered.data.images, triggered.wanted)


def reactivated(model: nn.Module, clean: Images, bad: Images, seed: int) -> nn.Module:
    """A copy of the model after the attack, in eval mode. Deterministic for the seed."""
    model = copy.deepcopy(model).requires_grad_(True).train()
    images = torch.cat([clean.images, bad.images])
    labels = torch.cat([clean.labels, bad.labels])
    optimizer = torch.optim.SGD(model.parameters(), _LR, momentum=_MOMENTUM)
    rng = torch.Generator().manual_seed(seed)
    for _epoch in range(EPOCHS):
        for index in torch.randperm(len(images), generator=rng).split(_BATCH):
            if len(index) > 1:  # BatchNorm has no statistics of a single image
                optimizer.zero_grad()
                F.cross_entropy(model(to_float(images[index])), labels[index]).backward()
                optimizer.step()
    return model.eval()
