"""Clean accuracy (CA), attack success rate (ASR), robust accuracy (RA) and DER, with counts and
intervals.

CA: share of clean test images given their class. ASR: share of triggered test images that count for
the attack (all-to-one: true class is not the target) given the class the attacker wants. RA: share
of those still given their true class. DER = (max(0, ASR drop) - max(0, CA drop) + 1) / 2 (Zhu et
al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ngf.attacks.base import Attack
from ngf.attacks.poison import Triggered, trigger_test_set
from ngf.data.base import WithTriggered
from ngf.data.images import Images
from ngf.data.splits import Splits
from ngf.predictions import predict


@dataclass(frozen=True)
class Rates:
    """Counts behind CA, ASR and RA; `n_triggered` is 0 for a benign model, whose ASR and RA
    are None.
    """

    clean_hits: int
    n_clean: int
    target_hits: int = 0
    true_hits: int = 0
    n_triggered: int = 0

    @property
    def ca(self) -> float:
        return self.clean_hits / self.n_clean

    @property
    def asr(self) -> float | None:
        return self.target_hits / self.n_triggered if self.n_triggered else None

    @property
    def ra(self) -> float | None:
        return self.true_hits / self.n_triggered if self.n_triggered else None

    def to_json(self) -> dict[str, Any]:
        """The three rates with their counts and 95 % Wilson intervals."""
        none = self.n_triggered == 0
        return {
            "ca": self.ca,
            "asr": self.asr,
            "ra": self.ra,
            "n_clean": self.n_clean,
            "n_triggered": self.n_triggered,
            "ca_interval": wilson(self.clean_hits, self.n_clean),
            "asr_interval": None if none else wilson(self.target_hits, self.n_triggered),
            "ra_interval": None if none else wilson(self.true_hits, self.n_triggered),
        }


def wilson(hits: int, count: int, z: float = 1.959964) -> list[float]:
    """95 % Wilson score interval of a proportion: [low, high]."""
    share, z2 = hits / count, z * z
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return [max(0.0, center - half), min(1.0, center + half)]


def der(before: Rates, after: Rates) -> float | None:
    """Defense effectiveness rating in [0, 1]; None where there is no attack to remove."""
    if before.asr is None or after.asr is None:
        return None
    return (max(0.0, before.asr - after.asr) - max(0.0, before.ca - after.ca) + 1) / 2


def accuracy(model: nn.Module, data: Images) -> float:
    """Share of images given their label."""
    return (predict(model, data.images) == data.labels).float().mean().item()


def spread(total: int, count: int) -> Tensor:
    """`count` of the numbers below `total`, evenly spread; all of them where there are fewer."""
    return torch.linspace(0, total - 1, min(count, total)).round().long()


@dataclass(frozen=True)
class TestSet:
    """Clean and triggered test images on a device; `triggered` is None for a benign model."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    clean: Images
    triggered: Triggered | None

    def to(self, device: torch.device | str) -> TestSet:
        triggered = self.triggered
        if triggered is not None:
            triggered = Triggered(triggered.data.to(device), triggered.wanted.to(device))
        return TestSet(self.clean.to(device), triggered)

    @property
    def sets(self) -> list[Tensor]:
        """The images, uint8 (N, C, H, W): clean, and triggered where there are any."""
        triggered = [] if self.triggered is None else [self.triggered.data.images]
        return [self.clean.images, *triggered]

    def evaluate(self, model: nn.Module) -> Rates:
        return self.rates([predict(model, images) for images in self.sets])

    def rates(self, called: Sequence[Tensor]) -> Rates:
        """The rates of predicted classes: one tensor (N,) for each of `sets`."""
        clean_hits = int((called[0] == self.clean.labels).sum())
        if self.triggered is None:
            return Rates(clean_hits, len(self.clean))
        return Rates(
            clean_hits,
            len(self.clean),
            int((called[1] == self.triggered.wanted).sum()),
            int((called[1] == self.triggered.data.labels).sum()),
            len(called[1]),
        )


def _given(splits: Splits, count: int | None) -> Triggered | None:
    """Triggered images that came with a model whose attack nobody knows, if any did."""
    source = splits.source
    found = source.triggered() if isinstance(source, WithTriggered) else None
    if found is None:
        return None
    data, wanted = found
    rows = spread(len(data), len(data) if count is None else count)
    return Triggered(data.take(rows), wanted[rows])


def test_set(splits: Splits, attack: Attack, count: int | None = None) -> TestSet:
    """The test set, clean and (for a real attack) triggered, on the CPU; `count` of each,
    spread evenly, or all.
    """
    test = splits.test
    clean = test if count is None else test.take(spread(len(test), count))
    if not attack.poison_rate:
        return TestSet(clean, _given(splits, count))
    counted = attack.asr_mask(test.labels).nonzero()[:, 0]
    if count is not None:
        counted = counted[spread(len(counted), count)]
    return TestSet(clean, trigger_test_set(test.take(counted), attack, len(splits.classes)))
