"""Whether the door opens again: attack success of a purified model before and after it is tuned on
its clean images and a few poisoned ones.

The retuning attack of Min et al. 2024 (arXiv 2410.09838); the protocol is in
`analysis.reactivation`. Attack success is counted on triggered images that nothing was tuned on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.curvature.gradients import predictions
from analysis.measurements.base import Measurement, Needs, Picture
from analysis.model_under_test import frozen_copy
from analysis.reactivation import Material, retuned
from analysis.reactivation_words import CANNOT, EPOCHS, POISONED, counted
from analysis.result import Partial, Value
from ngf.data import Images, to_float
from ngf.evaluate import wilson
from ngf.options import option

_START = 0.05  # share of the time before the first epoch


@dataclass(frozen=True, kw_only=True)
class Reactivation(Measurement):
    """Attack success before and after a few poisoned images are tuned on.

    Values, None until they are known:
        asr_before, asr_before_low, asr_before_high, asr_after, asr_after_low, asr_after_high: share
            of the triggered images that are given the attacker's class, with a 95 % Wilson
            interval.
        right_before, right_after: share of right answers on the given images, see `rate`.
        n_poisoned, n_clean: images that were tuned on. n_held: triggered ones, measured on.
        epochs: so many were asked for.
        note: the three numbers in words, and what it means where they are small.

    Arrays, for E epochs so far:
        epoch: (E + 1,), from 0 on. asr, asr_low, asr_high, right: (E + 1,), as above.
    """

    title: ClassVar[str] = "Reactivation (does the door open again?)"
    picture: ClassVar[Picture] = Picture(
        question="Does a handful of poisoned images bring the backdoor back?",
        value="asr",
        label="Attack success rate",
        low="asr_low",
        high="asr_high",
        share=True,
        over="epoch",
        over_label="Epochs on the clean images and a few poisoned ones",
        cannot=CANNOT,
    )

    poisoned: int = option(
        POISONED,
        "Poisoned images to tune on; of fewer than twice as many that came along, half.",
        unit="images",
        ge=1,
        le=1000,
    )
    epochs: int = option(
        EPOCHS, "Passes over the clean and the poisoned images.", unit="epochs", ge=1, le=100
    )

    def needs(self) -> Needs:
        return Needs(models="pair", poisoned="poisoned")

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        material: Material,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields before the first epoch and after each.

        material: what is tuned on, and the triggered images that are measured on.

        Raises Diverged.
        """
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        tuned, held = len(material.poisoned), len(material.held)
        values: dict[str, Value] = {
            "rate": self.rate,
            "epochs": self.epochs,
            "n_poisoned": tuned,
            "n_clean": len(material.clean),
            "n_held": held,
            "note": counted(len(material.clean), tuned, held),
            **dict.fromkeys(("asr_after", "asr_after_low", "asr_after_high", "right_after")),
        }
        path = [_read(frozen, material.held, images, labels)]
        values |= dict(zip(_names("before"), path[0], strict=True))
        yield Partial(values={**values, **stamp()}, arrays=_arrays(path), fraction=_START)
        nets = retuned(frozen, material.clean, material.poisoned, seed, self.epochs)
        for epoch, net in enumerate(nets, start=1):
            path.append(_read(net, material.held, images, labels))
            done = epoch == self.epochs
            if done:
                values |= dict(zip(_names("after"), path[-1], strict=True))
            fraction = _START + (1 - _START) * epoch / self.epochs
            yield Partial(
                values={**values, **stamp()},
                arrays=_arrays(path),
                fraction=1.0 if done else fraction,
                done=done,
            )


def _names(when: str) -> tuple[str, ...]:
    return (f"asr_{when}", f"asr_{when}_low", f"asr_{when}_high", f"right_{when}")


@torch.no_grad()
def _read(
    model: nn.Module, held: Images, images: Tensor, labels: Tensor
) -> tuple[float, float, float, float]:
    """Attack success with its interval, and the share of right answers on the given images."""
    called = predictions(model, to_float(held.images).to(images.dtype)).argmax(1)
    hits = int((called == held.labels).sum())
    low, high = wilson(hits, len(held))
    right = (predictions(model, images).argmax(1) == labels).double().mean()
    return hits / len(held), low, high, float(right)


def _arrays(path: list[tuple[float, float, float, float]]) -> dict[str, np.ndarray]:
    asr, low, high, right = np.array(path).T
    return {
        "epoch": np.arange(len(path)),
        "asr": asr,
        "asr_low": low,
        "asr_high": high,
        "right": right,
    }
