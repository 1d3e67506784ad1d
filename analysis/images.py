"""Takes the images that a measurement asks for: the same ones for every model of a data set."""

from __future__ import annotations

import torch
from torch import Tensor

from analysis.image_kinds import KINDS, check_kind
from ngf.attacks.base import Attack, InLoop
from ngf.attacks.poison import poison, trigger_test_set
from ngf.data import Images, Splits, to_float


def select(
    splits: Splits,
    attack: Attack,
    data: str,
    num_images: int,
    seed: int,
    whole: Images | None = None,
) -> tuple[Tensor, Tensor]:
    """Images, float (N, C, H, W) in [0, 1], and the labels that `data` asks for, int64 (N,).

    splits: those of the model's training.
    data: one of `analysis.image_kinds.KINDS`. Triggered images are drawn from those that count for
        the ASR.
    num_images: N, if there are as many.
    seed: draws the images.
    whole: clean images that are drawn from in place of those that `data` names.

    Raises SpecError for a kind of images that this model does not have.
    """
    check_kind(data, attacked=bool(attack.poison_rate), in_loop=isinstance(attack, InLoop))
    pool = _pool(splits, attack, data) if whole is None else whole
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    pool = pool.take(order[:num_images])
    if not KINDS[data].test or not KINDS[data].attacked:
        return to_float(pool.images), pool.labels
    triggered = trigger_test_set(pool, attack, len(splits.classes))
    labels = triggered.data.labels if data == "triggered_true" else triggered.wanted
    return to_float(triggered.data.images), labels


def _pool(splits: Splits, attack: Attack, data: str) -> Images:
    """All images of a kind, those to be triggered still clean."""
    if data == "clean":
        return splits.test
    if data == "validation":
        return splits.validation
    if data == "train":
        return splits.train
    if data == "poisoned":
        return poison(splits.train, attack, len(splits.classes), splits.seed).data
    return splits.test.take(attack.asr_mask(splits.test.labels))
