"""The processes that train one network together, each on its part of every batch.

Torch's DistributedDataParallel (Li et al. 2020, arXiv 2006.15704) averages the gradients. What the
others need to begin, the first process prepares and hands out: training images, which lie in one
file that all of them map into memory, so that a machine holds them once and each process reads only
its part of a batch; and the attacker inside the loop, if there is one. The first one alone decides
whether training goes on: before every step it says a word to the others, which wait for it.

An attacker inside the loop mixes the images of a batch with each other and looks at the outputs for
all of them. So every process makes the whole batch, and only the passes of the classifier are
divided, see `_Whole`.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel

from ngf.data.images import LARGE, Images
from ngf.places import cache_dir
from ngf.runs.recorder import Stopped
from ngf.training.attacker import InLoopAttacker
from ngf.training.batch_norm import synchronize

# The others wait while the first one downloads, decodes and measures. That a process has died is
# noticed by who has started them, and nothing else is worth giving up for.
_PATIENCE = timedelta(days=30)
MEETING = "NGF_MEETING"  # variable that names the file in which the processes find each other
_GO, _STOP = 0, 1
_LOOPBACK = "lo"


class _HasState(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Work:
    """What a process begins with.

    data: the training images, poisoned ones among them; on the device of the process where they are
        few, else in a file that is mapped into memory.
    facts: of the data set, see `ngf.data.base`.
    """

    data: Images
    facts: Mapping[str, Any]
    attacker: InLoopAttacker | None


class Team:
    """One process alone: nothing is divided, and nobody has to be told anything."""

    rank, size = 0, 1

    def part(self, count: int) -> slice:
        """Which of `count` images of a batch are this process's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def network(self, model: nn.Module, synchronized: bool, *, whole: bool) -> nn.Module:
        """`model` as it is called in training.

        synchronized: BatchNorm counts the images of all processes.
        whole: it is given whole batches by every process, and gives back all outputs.
        """
        return model

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes."""
        return value

    def equalize(self, thing: _HasState) -> None:
        """Give `thing` the state that it has in the first process."""

    def go_on(self) -> None:
        """Say, in the first process, that the others may go on to where they wait next."""

    def hand_out(self, work: Work, where: torch.device) -> Images:
        """Let all others begin; returns the images as this process uses them."""
        return work.data.to(where)


ALONE = Team()


class Several(Team):
    """One of several processes."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def network(self, model: nn.Module, synchronized: bool, *, whole: bool) -> nn.Module:
        if synchronized:
            synchronize(model)
        # `find_unused_parameters` because gradients are then summed in the same groups from the
        # first step on; else the groups change after it, and with three processes or more a resumed
        # run would differ in its last bits. Buffers are those of the first process in each pass.
        network = DistributedDataParallel(model, find_unused_parameters=True)
        return _Whole(network, self) if whole else network

    def mean(self, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def equalize(self, thing: _HasState) -> None:
        state = self._same(thing.state_dict())
        if self.rank > 0:
            thing.load_state_dict(state)

    def go_on(self) -> None:
        self._word(_GO)

    def stop(self) -> None:
        """Say, in the first process, that nobody goes on."""
        self._word(_STOP)

    def wait(self) -> None:
        """Wait, in another process, until the first one says something. Raises Stopped."""
        if self._word(_GO) == _STOP:
            raise Stopped("The run was asked to stop.")

    def hand_out(self, work: Work, where: torch.device) -> Images:
        images = work.data.images
        folder = cache_dir() / "large"
        folder.mkdir(parents=True, exist_ok=True)
        self.go_on()
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            images.numpy().tofile(file)
            file.flush()
            told = (file.name, tuple(images.shape), work.data.labels, work.facts, work.attacker)
            self._same(told)
            data = _mapped(file.name, images.shape, work.data.labels)
            self._meet()  # all have it: the file needs no name any more
        return _near(data, where)

    def receive(self, where: torch.device) -> Work:
        """What the first process hands out, in another one. Raises Stopped."""
        self.wait()
        name, shape, labels, facts, attacker = self._same(None)
        data = _mapped(name, shape, labels)
        self._meet()
        return Work(_near(data, where), facts, attacker)

    def _same(self, thing: Any) -> Any:
        """`thing` of the first process; its tensors are on a device of the same kind."""
        told = [b""]
        if self.rank == 0:
            buffer = io.BytesIO()
            torch.save(thing, buffer)
            told = [buffer.getvalue()]
        dist.broadcast_object_list(told, device=torch.device("cpu"))
        if self.rank == 0:
            return thing
        # weights_only refuses classes of ours; the sender is the process that started with us
        return torch.load(io.BytesIO(told[0]), map_location=_here, weights_only=False)

    def _word(self, word: int) -> int:
        told = torch.tensor(word)
        dist.broadcast(told, 0)
        return int(told)

    def _meet(self) -> None:
        """Wait for all others; not by `dist.barrier`, which would take a device of its choice."""
        dist.all_reduce(torch.zeros(1))


def _here(storage: Any, place: str) -> Any:
    """Where a tensor of the first process belongs: on this process's own GPU, if on any."""
    return storage.cuda() if place.startswith("cuda") else storage


def _mapped(name: str, shape: torch.Size, labels: Tensor) -> Images:
    """Images in a file; what is read of them is in memory, once for all processes."""
    return Images(torch.from_numpy(np.memmap(name, np.uint8, "c", shape=tuple(shape))), labels)


def _near(data: Images, where: torch.device) -> Images:
    return data if data.images.numel() >= LARGE else data.to(where)


@contextmanager
def joined(where: torch.device) -> Iterator[Several]:
    """The team of the processes that `ngf.training.agent` has started, of which this is one; on
    GPUs each takes its own.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if where.type == "cuda":
        torch.cuda.set_device(rank)
    if Path("/sys/class/net", _LOOPBACK).exists():  # all are on this machine: nobody else may call
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", _LOOPBACK)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo",
        store=dist.FileStore(os.environ[MEETING], size),
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
    )
    yield Several()
    dist.destroy_process_group()  # not after an error: others may be in the midst of something


class _Whole(nn.Module):
    """A network that every process gives the same whole batch: it sees this process's part of it,
    and gives back the outputs for all images. Gradients by them, and by the images, are whole too.
    """

    def __init__(self, network: nn.Module, team: Team) -> None:
        super().__init__()
        self.network, self.team = network, team

    def forward(self, images: Tensor) -> Tensor:
        part = self.team.part(len(images))
        own = _Own.apply(images, part, self.team.size)
        return _All.apply(self.network(own), part, len(images), self.team.size)


class _Own(torch.autograd.Function):
    """The images at `part`; backward, the gradients by all images, from all processes."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, part: slice, size: int) -> Tensor:
        ctx.shape, ctx.part, ctx.size = images.shape, part, size
        return images[part].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        whole = gradient.new_zeros(ctx.shape)
        whole[ctx.part] = gradient / ctx.size
        dist.all_reduce(whole)
        return whole, None, None


class _All(torch.autograd.Function):
    """The outputs for all images, from all processes; backward, the gradients by those at `part`,
    times the number of processes, whose mean `DistributedDataParallel` takes.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, part: slice, count: int, size: int) -> Tensor:
        ctx.part, ctx.size = part, size
        whole = outputs.new_zeros(count, *outputs.shape[1:])
        whole[part] = outputs
        dist.all_reduce(whole)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient[ctx.part] * ctx.size, None, None, None
