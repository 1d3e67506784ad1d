"""Loss and rate of a network at many places of weight space, on one fixed set of images.

A place is a combination c_1 S_1 + c_2 S_2 + ... of states: the weights and one or two directions
for a slice or a plane, two ends for a line, three points for a bend. Weights are set in place and
computed afresh for each place, so that rounding never adds up. Places are shared out to threads,
one core each: small networks gain more from that than from sharing out each operation. The numbers
do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from analysis.cores import one_thread, over_cores
from analysis.landscape.directions import State, combine, put
from analysis.landscape.interpolation import batch_norms, reestimate
from analysis.landscape.partial_forward import PartialForward
from analysis.model_under_test import Reading, exact_float32, read

_HEAD_ELEMENTS = 2**18  # logits computed at once in closed form: what fits a cache


class LossAt:
    """Called with states and places, it gives the loss there.

    model: frozen, in eval mode.
    images: float (N, C, H, W) in [0, 1].
    labels: int64 (N,).
    moving: names in the state_dict that may move.
    floors: name -> the smallest values that this tensor of the state may have.
    between: "reestimated" estimates the statistics of BatchNorm at each place from the images, so
        that nothing of the network can be kept between places; "interpolated" leaves them to the
        states.
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
        self._moving, self._labels, self._floors = list(moving), labels, floors or {}
        # For the closed form, of the states seen last.
        self._table: tuple[Sequence[State], Tensor] | None = None
        self._estimates = between == "reestimated" and bool(batch_norms(model))
        all_may_move = model.state_dict() if self._estimates else self._moving
        with one_thread():
            self._forwards = [PartialForward(model, images, all_may_move)]

    def __call__(self, states: Sequence[State], places: Sequence[Sequence[float]]) -> list[Reading]:
        """The readings at sum_k places[i][k] states[k], one per place.

        states: each has all names in `moving`.
        """
        with exact_float32():
            if self._forwards[0].head is not None:
                with one_thread():
                    return self._closed_form(states, places)
            threads = torch.get_num_threads() if self._labels.device.type == "cpu" else 1
            threads = min(threads, len(places))
            while len(self._forwards) < threads:
                self._forwards.append(self._forwards[0].twin())
            shares = [(forward, places[k::threads]) for k, forward in enumerate(self._forwards)]
            found = list(
                over_cores(
                    lambda share: [self._at(share[0], states, place) for place in share[1]],
                    shares[:threads],
                    self._labels.device,
                )
            )
            return [found[i % threads][i // threads] for i in range(len(places))]

    @torch.inference_mode()
    def _at(
        self, forward: PartialForward, states: Sequence[State], place: Sequence[float]
    ) -> Reading:
        values = combine(states, place, self._moving)
        for name, floor in self._floors.items():
            values[name].clamp_(min=floor)
        put(forward.state, values)
        if self._estimates:
            reestimate(forward.network, forward.images)
        return read(forward.logits(), self._labels)

    @torch.inference_mode()
    def _closed_form(
        self, states: Sequence[State], places: Sequence[Sequence[float]]
    ) -> list[Reading]:
        """Only the last layer moves: its logits are the same combination of the logits of each
        state.
        """
        if self._table is None or self._table[0] is not states:
            self._table = states, self._logits(states)
        table, y = self._table[1], self._labels
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
            # A maximum with its index takes 20 times longer.
            rival = z.scatter_(1, where, -math.inf).amax(1)
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
        forward = self._forwards[0]
        h, own, prefix = forward.features, forward.state, f"{forward.head}." if forward.head else ""
        weight, bias = prefix + "weight", prefix + "bias"

        def logits(state: State, moves: bool) -> Tensor:
            out = (
                h @ state[weight].T
                if (weight in self._moving) == moves
                else h.new_zeros(len(h), len(own[weight]))
            )
            return out + state[bias] if bias in own and (bias in self._moving) == moves else out

        table = [*(logits(state, True) for state in states), logits(own, False)]
        return torch.stack(table).transpose(1, 2).contiguous()
