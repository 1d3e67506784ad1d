"""Loss and rate of a network at many places of weight space, on one fixed set of images.

A place is a combination c_1 S_1 + c_2 S_2 + ... of states: the weights and one or two directions
for a slice or a plane, two ends for a line, three points for a bend. Weights are set in place and
computed afresh for each place, so that rounding never adds up. Places are shared out to threads,
one core each: small networks gain more from it than from sharing out each operation. The numbers do
not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.landscape.interpolation import batch_norms, reestimate
from analysis.landscape.partial_forward import Replay
from analysis.model_under_test import exact_float32

State = Mapping[str, Tensor]
_HEAD_ELEMENTS = 2**18  # logits computed at once in closed form: what fits a cache


class Reading(NamedTuple):
    """loss: mean cross-entropy in nats; stderr: over images, infinite for one; rate: share of
    right answers.
    """

    loss: float
    stderr: float
    rate: float


class Walker:
    """model: frozen, in eval mode; images: float (N, C, H, W); labels: int64 (N,); moving: names in
    the state_dict.

    floors: below which a state is not let fall. between: "reestimated" estimates the statistics of
    BatchNorm at each place from the images, and nothing of the network can be kept.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        moving: Collection[str],
        *,
        floors: State | None = None,
        between: str = "interpolated",
    ) -> None:
        self.moving = list(moving)
        self.labels = labels
        self._table: tuple[Sequence[State], Tensor] | None = (
            None  # for the closed form, of the states seen last
        )
        self.floors = floors or {}
        self.estimates = between == "reestimated" and bool(batch_norms(model))
        with one_thread():
            self.replays = [
                Replay(model, images, model.state_dict() if self.estimates else self.moving)
            ]

    def read(self, states: Sequence[State], places: Sequence[Sequence[float]]) -> list[Reading]:
        """The readings at sum_k places[i][k] states[k]; each state has all names in `moving`."""
        with exact_float32():
            if self.replays[0].head is not None:
                with one_thread():
                    return self._closed_form(states, places)
            threads = torch.get_num_threads() if self.labels.device.type == "cpu" else 1
            threads = min(threads, len(places))
            if threads < 2:
                with one_thread():
                    return [self._at(self.replays[0], states, place) for place in places]
            while len(self.replays) < threads:
                self.replays.append(self.replays[0].twin())
            shares = [places[k::threads] for k in range(threads)]
            with (
                one_thread(),
                ThreadPoolExecutor(
                    threads, initializer=torch.set_num_threads, initargs=(1,)
                ) as pool,
            ):
                found = list(
                    pool.map(
                        lambda replay, share: [self._at(replay, states, place) for place in share],
                        self.replays,
                        shares,
                    )
                )
            return [found[i % threads][i // threads] for i in range(len(places))]

    @torch.inference_mode()
    def _at(self, replay: Replay, states: Sequence[State], place: Sequence[float]) -> Reading:
        values = combine(states, place, self.moving)
        for name, floor in self.floors.items():
            values[name].clamp_(min=floor)
        put(replay.state, values)
        if self.estimates:
            reestimate(replay.network, replay.images)
        losses, right, start = [], 0, 0
        for logits in replay.logits():
            y = self.labels[start : start + len(logits)]
            start += len(logits)
            losses.append(F.cross_entropy(logits, y, reduction="none").cpu().double())
            right += int((logits.argmax(1) == y).sum())
        return _reading(torch.cat(losses), right / start)

    @torch.inference_mode()
    def _closed_form(
        self, states: Sequence[State], places: Sequence[Sequence[float]]
    ) -> list[Reading]:
        """Only the last layer moves: its logits are the same combination of the logits of
        each state.
        """
        if self._table is None or self._table[0] is not states:
            self._table = states, self._logits(states)
        table, y = self._table[1], self.labels
        rows = max(1, _HEAD_ELEMENTS // table[0].numel())
        out: list[Reading] = []
        for first in range(0, len(places), rows):
            c = torch.tensor(
                [[*place, 1.0] for place in places[first : first + rows]],
                dtype=table.dtype,
                device=table.device,
            )
            z = (c @ table.flatten(1)).view(len(c), *table.shape[1:])  # (M, classes, N)
            where = y.expand(len(c), 1, -1)
            top, wanted = z.amax(1), z.gather(1, where)[:, 0]
            loss = ((z - top[:, None]).exp_().sum(1).log_() + top - wanted).cpu().double()
            rival = z.scatter_(1, where, -math.inf).amax(
                1
            )  # a maximum with its index takes 20 times longer
            right = wanted > rival
            if bool((wanted == rival).any()):  # a tie goes to the first class
                right = (c @ table.flatten(1)).view_as(z).max(1).indices == y
            rate = right.double().mean(1).cpu()
            error = (
                loss.std(1) / math.sqrt(len(y)) if len(y) > 1 else torch.full_like(rate, math.inf)
            )
            out += [
                Reading(*row)
                for row in zip(loss.mean(1).tolist(), error.tolist(), rate.tolist(), strict=True)
            ]
        return out

    def _logits(self, states: Sequence[State]) -> Tensor:
        """(K + 1, classes, N): what each state adds to the logits, and last what stays. Classes
        come before images, so that sums over classes run along images: twice as fast.
        """
        replay = self.replays[0]
        h, own, prefix = replay.features, replay.state, f"{replay.head}." if replay.head else ""
        weight, bias = prefix + "weight", prefix + "bias"

        def logits(state: State, moves: bool) -> Tensor:
            out = (
                h @ state[weight].T
                if (weight in self.moving) == moves
                else h.new_zeros(len(h), len(own[weight]))
            )
            return out + state[bias] if bias in own and (bias in self.moving) == moves else out

        table = [*(logits(state, True) for state in states), logits(own, False)]
        return torch.stack(table).transpose(1, 2).contiguous()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One core for each operation: small ones lose by being shared out, on a busy machine ten times
    over.

    The number of threads belongs partly to the process and is put back at the end.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def combine(
    states: Sequence[State], place: Sequence[float], names: Collection[str]
) -> dict[str, Tensor]:
    """sum_k place[k] states[k] for `names`, from the first state to the last."""
    total = torch._foreach_mul([states[0][name] for name in names], place[0])
    for state, c in zip(states[1:], place[1:], strict=True):
        torch._foreach_add_(total, [state[name] for name in names], alpha=c)
    return dict(zip(names, total, strict=True))


def put(own: State, values: State) -> None:
    """Copy `values` into the tensors of a network."""
    for name, value in values.items():
        own[name].copy_(value)


def _reading(losses: Tensor, rate: float) -> Reading:
    error = float(losses.std()) / math.sqrt(len(losses)) if len(losses) > 1 else math.inf
    return Reading(float(losses.mean()), error, rate)
