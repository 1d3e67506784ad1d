"""Half of one image and half of another: how, and with which one."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ngf.data.images import to_bytes


def mix(first: Tensor, second: Tensor, numbers: Tensor, jitter: int) -> Tensor:
    """Half of each of two images: float (N, C, H, W) in [0, 1], twice.

    numbers: int64 (N, 5), 0 or more, say how: the direction of the split, which image comes first,
    where the split is, and the offset of the stretch that is taken from each image.
    """
    count, _, height, width = first.shape
    numbers = numbers.to(first.device)
    down, swap = numbers[:, 0] % 2 == 1, numbers[:, 1] % 2 == 1
    length = torch.where(down, height, width)
    split = length // 2 - jitter + numbers[:, 2] % (2 * jitter + 1)
    # The first part is `split` long and can begin at 0 to length - split in its image; so with the
    # second.
    begin = torch.stack([numbers[:, 3] % (length - split + 1), numbers[:, 4] % (split + 1)], 1)
    steps = torch.arange(max(height, width), device=first.device)
    later = steps >= split[:, None]
    places = torch.where(later, begin[:, 1:] + steps - split[:, None], begin[:, :1] + steps)
    rows = torch.where(down[:, None], places[:, :height], steps[:height])
    columns = torch.where(down[:, None], steps[:width], places[:, :width])
    part = torch.where(down[:, None, None], later[:, :height, None], later[:, None, :width])
    which = (part ^ swap[:, None, None]).long()  # 0: from `first`
    index = torch.arange(count, device=first.device)[:, None, None]
    # Advanced indices around the channel slice put the channels last.
    both = torch.stack([first, second], 1)
    return (
        both[index, which, :, rows[:, :, None], columns[:, None, :]]
        .permute(0, 3, 1, 2)
        .contiguous()
    )


def numbers_of(images: Tensor) -> Tensor:
    """Six numbers that follow from the bytes of each image: int64 (N, 6), 0 or more."""
    values = to_bytes(images).flatten(1).double()
    factors = torch.randint(
        1, 2**20, (values.shape[1], 6), generator=torch.Generator().manual_seed(0)
    )
    # Whole numbers below 2^53, so the sum is exact in any order. Its low bits depend on little, the
    # middle ones on every byte.
    return (values @ factors.to(values)).long() // 2**10


def draw(count: int, rng: Generator) -> Tensor:
    """Random numbers for `mix`."""
    return torch.randint(2**31, (count, 5), generator=rng)


def another(labels: Tensor, rng: Generator) -> Tensor:
    """For each image a random one of its class, another one where there is one: int64 (N,)."""
    # Sorted by class, in random order within, each image is followed by its partner, the last of a
    # class by the first.
    order = torch.randperm(len(labels), generator=rng).to(labels.device)
    order = order[labels[order].argsort(stable=True)]
    ends = labels[order].roll(-1) != labels[order]
    ends[-1] = True
    starts = ends.roll(1)
    starts[0] = True
    following = order.roll(-1)
    following[ends] = order[starts]
    partner = torch.empty_like(order)
    partner[order] = following
    return partner
