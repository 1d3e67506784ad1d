"""Large images lie in a file and are the same."""

import numpy as np
import torch

from ngf.attacks.poison import poison, trigger_test_set
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import Images, images


def test_large_images_lie_in_a_file_and_are_the_same(monkeypatch):
    clean = Images(
        torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8), torch.arange(300) % 5
    )
    attack = build("attacks", Choice("blend"))
    small = (
        poison(clean, attack, 5, seed=0),
        trigger_test_set(clean, attack, 5),
        clean.take(clean.labels > 2),
    )
    monkeypatch.setattr(images, "LARGE", 2**14)
    monkeypatch.setattr(images, "_CHUNK", 2**14)
    mapped = []
    real = np.memmap
    monkeypatch.setattr(
        np, "memmap", lambda *args, **options: mapped.append(real(*args, **options)) or mapped[-1]
    )
    large = (
        poison(clean, attack, 5, seed=0),
        trigger_test_set(clean, attack, 5),
        clean.take(clean.labels > 2),
    )
    assert len(mapped) >= 4
    for one, other in zip(
        (small[0].data, small[1].data, small[2]),
        (large[0].data, large[1].data, large[2]),
        strict=True,
    ):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
