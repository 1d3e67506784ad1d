"""A few test images with and without the trigger, for people who look at a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ngf.attacks.base import Attack
from ngf.attacks.poison import apply_in_chunks
from ngf.data import Splits
from ngf.predictions import predict


def save_preview(
    path: Path, splits: Splits, attack: Attack, model: torch.nn.Module | None = None, count: int = 6
) -> None:
    """A few test images, clean and triggered, as `pairs`, uint8 (n, 2, H, W, 3): compression sees
    what two share.

    With a model, also the class that it gives each: `says_clean` and `says_triggered`, text (n,).
    """
    test = splits.test
    wanted = attack.asr_mask(test.labels).nonzero()[:, 0]
    classes = test.labels[wanted]
    # One image of each of the first classes that count, so that the row shows variety; more of them
    # if few count.
    firsts = [int(wanted[(classes == label).nonzero()[0, 0]]) for label in classes.unique()[:count]]
    firsts += [int(index) for index in wanted[:count] if int(index) not in firsts][
        : count - len(firsts)
    ]
    clean = test.images[firsts]
    triggered = apply_in_chunks(attack, clean)

    def rows(images: torch.Tensor) -> np.ndarray:
        return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()

    def named(labels: torch.Tensor) -> np.ndarray:
        return np.array([splits.classes[label] for label in labels.tolist()])

    says: dict[str, Any] = {}
    if model is not None:
        where = next(model.parameters()).device
        for name, images in (("clean", clean), ("triggered", triggered)):
            says[f"says_{name}"] = named(predict(model, images.to(where)))
    np.savez_compressed(
        path,
        pairs=np.stack([rows(clean), rows(triggered)], axis=1),
        labels=named(test.labels[firsts]),
        **says,
    )
