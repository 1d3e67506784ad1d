"""A picture of the loss on a plane that is complete at any time: measured where known, else filled
in.

Cells are measured coarse to fine (11 x 11, then 21 x 21, then 41 x 41 for 41 points), row by row in
serpentine order. Until the coarsest level is there the rest shows a quadratic model, afterwards
what lies between measured cells (bilinear). Nothing is smoothed: a measured cell keeps its value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

_COARSE = 5  # cells from the center to the edge on the coarsest level, at least
_LARGEST = float(np.finfo(np.float32).max)


class Surface:
    """loss, rate: (P, B, A) for P planes; known: (B, A), where they are measured.

    loss and rate given: what to show first, of these shapes.
    """

    def __init__(self, loss: np.ndarray, rate: np.ndarray) -> None:
        self._preview = loss, rate
        self._measured = np.zeros_like(loss), np.zeros_like(rate)
        self.known = np.zeros(loss.shape[1:], bool)
        self._whole = False  # whether a level is complete
        self.num_not_finite = 0

    def rows(self) -> Iterator[tuple[int, list[int]]]:
        """The row b and the columns to measure next, forth and back; `record` them before the
        next.
        """
        num_b, num_a = self.known.shape
        for across, along in zip(levels(num_b), levels(num_a), strict=True):
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
        loss = np.stack([finite(plane, self.known) for plane in self._measured[0]])
        out = {
            name: self._fill(value, preview).astype(np.float32)
            for name, value, preview in zip(
                ("loss", "rate"), (loss, self._measured[1]), self._preview, strict=True
            )
        }
        return {**out, "known": self.known.astype(np.uint8)}

    def spread(self) -> float:
        """Mean over measured cells of the highest loss minus the lowest, over planes."""
        loss = np.stack([finite(plane, self.known) for plane in self._measured[0]])[:, self.known]
        return float((loss.max(0) - loss.min(0)).mean()) if loss.size else 0.0

    def _fill(self, measured: np.ndarray, preview: np.ndarray) -> np.ndarray:
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


def levels(points: int) -> list[list[int]]:
    """Indices 0 ... points - 1 to be measured on each level: every 4th, 2nd, then all, counted from
    the center.

    Both ends are on every level. The number of levels depends on `points` only.
    """
    half, stride = points // 2, 1
    while half // (2 * stride) >= _COARSE:
        stride *= 2
    out = []
    while stride:
        out.append([k for k in range(points) if (k - half) % stride == 0 or k in (0, points - 1)])
        stride //= 2
    return out


def finite(loss: np.ndarray, known: np.ndarray | bool = True) -> np.ndarray:
    """`loss` with what is not finite (or too large for float32) at the largest value that is."""
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
    """(B, A): center + g . x + x . H x / 2 at x = (a, b), clipped to what a loss may
    plausibly be: it is a preview.
    """
    x = np.stack(np.meshgrid(a, b))  # (2, B, A)
    rise = np.tensordot(gradient, x, 1) + 0.5 * (x * np.tensordot(hessian, x, 1)).sum(0)
    return np.clip(np.nan_to_num(center + rise), 0.0, center + 2 * np.log(num_classes))


def derivatives(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    directions: Sequence[Mapping[str, Tensor]],
    *,
    names: Collection[str],
) -> tuple[np.ndarray, np.ndarray]:
    """First (K,) and second (K, K) derivatives of the mean loss at the weights, along K directions.

    model: frozen, in eval mode; names: parameters that the directions move. Exact, from one graph:
    two gradients for the first derivatives, two more for each row of the second. Buffers stay.
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
