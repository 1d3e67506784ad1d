"""Splits: apart from each other, chosen by a seed, and no larger than their pools."""

import numpy as np
import pytest
import torch

from ngf.data import DataError, Splits, load


def test_splits_never_share_an_image():
    splits = load("signs", seed=0, num_train=2000, num_clean=500)
    parts = [splits.train, splits.clean, splits.validation, splits.test]
    assert [len(part) for part in parts] == [2000, 500, 1000, 2400]
    seen = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert all(not seen[i] & seen[j] for i in range(4) for j in range(i))


def test_a_seed_chooses_within_the_pools():
    first, second = load("signs", seed=0, num_clean=50), load("signs", seed=1, num_clean=50)
    assert not torch.equal(first.clean.images, second.clean.images)
    assert torch.equal(first.test.images, second.test.images)


def test_each_seed_draws_its_own_training_images():
    """In the first revision all seeds shared the first ten blocks."""
    first, second = (set(load("signs", seed=seed).train_index()) for seed in (0, 1))
    assert len(first) == len(second) == 10_000
    assert len(first & second) <= 4_000  # a fifth in expectation
    former = [set(load("signs", seed=seed, revision=1).train_index()) for seed in (0, 1)]
    assert former[0] == former[1] == set(range(10_000))


@pytest.mark.parametrize("block", [1, 7])
def test_a_smaller_choice_is_the_beginning_of_a_larger_one(block):
    class Pool:
        title = "pool"
        facts = {"pools": {"train": 25_000}, "block": block}

    def index(count: int) -> np.ndarray:
        return Splits(Pool(), seed=3, num_train=count).train_index()

    assert list(index(50)) == list(index(9_000))[:50]
    assert len(set(index(10_000))) == 10_000, "also where the last block is short"
    everything = index(25_000)
    assert sorted(everything) == list(range(25_000))


def test_asking_for_too_many_says_how_many_there_are():
    with pytest.raises(DataError, match=r"2,000 clean images"):
        _ = load("signs", num_clean=2001).clean
    with pytest.raises(DataError, match="training images, not"):
        _ = load("signs", num_train=60_000).train
