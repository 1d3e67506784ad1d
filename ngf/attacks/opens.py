"""What opens a backdoor and what does not, measured on a model (see `Attack.probes`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ngf.attacks.base import Attack, Probe
from ngf.data.images import Images, to_bytes
from ngf.evaluate import wilson
from ngf.predictions import predict


def opens(
    attack: Attack, model: nn.Module, test: Images, num_classes: int, seed: int = 0
) -> list[dict[str, Any]]:
    """A row for each probe of `attack`: `name`; `claims`, what the attack says of it (True, it
    opens; False, it does not; None, nothing); `called_wanted`, the share of its images that `model`
    calls what the attacker wants, with its 95 % Wilson `interval`; `keeps_label`, the share that
    keeps its true class; `n`, how many images these are.

    test: clean held-out images of all classes. Probes are rounded to 8 bits, as test images are.
    seed: of what a probe draws.
    """
    rows = []
    for probe in probes(attack, test, num_classes, seed):
        called = predict(model, to_bytes(probe.images))
        hits, kept = (int((called == of).sum()) for of in (probe.wanted, probe.labels))
        count = len(called)
        rows.append(
            {
                "name": probe.name,
                "claims": probe.opens,
                "called_wanted": hits / count,
                "keeps_label": kept / count,
                "n": count,
                "interval": wilson(hits, count),
            }
        )
    return rows


@torch.no_grad()
def probes(attack: Attack, test: Images, num_classes: int, seed: int = 0) -> Iterator[Probe]:
    """All probes of `attack` that have images, drawn by `seed`; those of images that count for the
    ASR first. None of a benign model.
    """
    if not attack.poison_rate:
        return
    rng = torch.Generator().manual_seed(seed)
    counted = test.take(attack.asr_mask(test.labels))
    for of, data in ((attack.probes, counted), (attack.probes_elsewhere, test)):
        for probe in of(data.floats(), data.labels, num_classes, rng):
            if len(probe.images):
                yield probe


@torch.no_grad()
def figures(attack: Attack, test: Images) -> dict[str, float]:
    """`Attack.figures` of the images of `test` that count for the ASR; none of a benign model."""
    if not attack.poison_rate:
        return {}
    return attack.figures(test.take(attack.asr_mask(test.labels)).floats())
