"""A picture of the loss on a plane that is complete at any time: measured where known, filled in
elsewhere.

Cells are measured coarse to fine (11 x 11, then 21 x 21, then 41 x 41 for 41 points), row by row in
serpentine order. Until the coarsest level is there the rest shows a quadratic model, afterwards
what lies between measured cells (bilinear). Nothing is smoothed: a measured cell keeps its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from analysis.landscape.coarse_to_fine import levels
from analysis.landscape.directions import State

_COARSE = 5  # cells from the center to the edge on the coarsest level, at least: 11 x 11 in all
_LARGEST = float(np.finfo(np.float32).max)


class ProgressiveSurface:
    """Loss and rate on P planes of the same A x B cells, each measured or filled in.

    Arguments:
        loss, rate: (P, B, A), what to show first.

    Attributes:
        known: bool (B, A), where cells are measured.
        num_not_finite: measured cells whose loss is not finite.
    """

    def __init__(self, loss: np.ndarray, rate: np.ndarray) -> None:
        self._preview = loss, rate
        self._measured = np.zeros_like(loss), np.zeros_like(rate)
        self.known: np.ndarray = np.zeros(loss.shape[1:], bool)
        self._whole = False  # whether a level is complete
        self.num_not_finite = 0

    def rows(self) -> Iterator[tuple[int, list[int]]]:
        """The row b and its columns to measure next, forth and back; `record` them before you ask
        again.
        """
        num_b, num_a = self.known.shape
        for across, along in zip(axis_levels(num_b), axis_levels(num_a), strict=True):
            for turn, b in enumerate(across):
                columns = [a for a in along if not self.known[b, a]]
                if columns:
                    yield b, columns[::-1] if turn % 2 else columns
            self._whole = True

    def record(self, b: int, columns: Sequence[int], loss: np.ndarray, rate: np.ndarray) -> None:
        """loss, rate: (P, len(columns)); a loss that is not finite counts as such."""
        self.num_not_finite += int((~np.isfinite(loss)).sum())
        self._measured[0][:, b, columns], self._measured[1][:, b, columns] = loss, rate
        self.known[b, columns] = True

    def arrays(self) -> dict[str, np.ndarray]:
        """loss, rate (P, B, A) float32, complete and finite; known (B, A) uint8."""
        first_loss, first_rate = self._preview
        return {
            "loss": self._fill(self._finite_loss(), first_loss).astype(np.float32),
            "rate": self._fill(self._measured[1], first_rate).astype(np.float32),
            "known": self.known.astype(np.uint8),
        }

    def spread(self) -> float:
        """Mean over measured cells of the highest loss minus the lowest, over planes."""
        loss = self._finite_loss()[:, self.known]
        return float((loss.max(0) - loss.min(0)).mean()) if loss.size else 0.0

    def _finite_loss(self) -> np.ndarray:
        return np.stack([finite(plane, self.known) for plane in self._measured[0]])

    def _fill(self, measured: np.ndarray, preview: np.ndarray) -> np.ndarray:
        """The preview around measured cells, or once a level is there what lies between them."""
        if not self._whole:
            return np.where(self.known, measured, preview)
        out = np.empty_like(measured)
        num_b, num_a = self.known.shape
        rows = np.flatnonzero(self.known.any(1))
        for p, plane in enumerate(measured):
            along = np.array(
                [
                    np.interp(
                        np.arange(num_a), np.flatnonzero(self.known[b]), plane[b, self.known[b]]
                    )
                    for b in rows
                ]
            )
            out[p] = np.array([np.interp(np.arange(num_b), rows, column) for column in along.T]).T
        return out


def axis_levels(points: int) -> list[list[int]]:
    """Indices along an axis to measure on each level: every 4th, 2nd, then all for 41 points,
    counted from the center.
    """
    half, stride = points // 2, 1
    while half // (2 * stride) >= _COARSE:
        stride *= 2
    return levels(points, stride, center=half)


def finite(loss: np.ndarray, known: np.ndarray | bool = True) -> np.ndarray:
    """`loss` with the largest finite value in place of what is not finite, or too large for
    float32.

    known: what counts for that value.
    """
    fine = np.isfinite(loss) & (np.abs(loss) <= _LARGEST)
    seen = loss[fine & known]
    return np.where(fine, loss, seen.max() if seen.size else _LARGEST)


def quadratic(
    center: float,
    gradient: np.ndarray,
    hessian: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    *,
    num_classes: int,
) -> np.ndarray:
    """center + g . x + x . H x / 2 at x = (a, b): (B, A).

    gradient: g (2,).
    hessian: H (2, 2).
    a, b: (A,) and (B,).

    A preview, so it is clipped to what a loss may plausibly be: from 0 to twice what guessing costs
    above the center.
    """
    x = np.stack(np.meshgrid(a, b))  # (2, B, A)
    rise = np.tensordot(gradient, x, 1) + 0.5 * (x * np.tensordot(hessian, x, 1)).sum(0)
    return np.clip(np.nan_to_num(center + rise), 0.0, center + 2 * np.log(num_classes))


def derivatives(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    directions: Sequence[State],
    *,
    names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """First (K,) and second (K, K) derivatives of the mean loss at the weights, along K directions.

    model: frozen, in eval mode.
    images: float (N, C, H, W) in [0, 1].
    labels: int64 (N,).
    names: parameters that the directions move. Buffers stay.

    Exact, from one graph: two gradients for the first derivatives, two more for each row of the
    second.
    """
    start = dict(model.named_parameters())
    origin = torch.zeros(
        len(directions), dtype=start[names[0]].dtype, device=images.device, requires_grad=True
    )
    moved = {
        name: start[name].detach()
        + sum(c * d[name] for c, d in zip(origin, directions, strict=True))
        for name in names
    }
    loss = F.cross_entropy(functional_call(model, moved, (images,)), labels)
    (first,) = torch.autograd.grad(loss, origin, create_graph=True)
    rows = [
        torch.autograd.grad(
            g, origin, retain_graph=True, allow_unused=True, materialize_grads=True
        )[0]
        if g.requires_grad
        else torch.zeros_like(origin)
        for g in first
    ]
    return first.detach().cpu().double().numpy(), torch.stack(rows).cpu().double().numpy()
