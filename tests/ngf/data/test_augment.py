"""Augmentation: shifts, and mirror images where the class allows them."""

import torch

from ngf.data.augment import augment


def test_augment_shifts_and_mirrors_only_what_may_be():
    images = torch.rand(200, 3, 8, 8)
    labels = torch.arange(200) % 2
    flips = torch.tensor([True, False])
    rng = torch.Generator().manual_seed(0)
    out = augment(images, labels, rng, shift=0, survives_flip=flips)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert bool(same[labels == 1].all())
    assert 20 < int(mirrored[labels == 0].sum()) < 80
    shifted = augment(images, labels, rng, shift=2)
    inner = {tuple(s.flatten().tolist()) for s in (images[0, :, 2:6, 2:6],)}
    windows = {
        tuple(shifted[0, :, r : r + 4, c : c + 4].flatten().tolist())
        for r in range(5)
        for c in range(5)
    }
    assert inner & windows
