"""Linear mixed models, y = X b + sum_k Z_k u_k + e, with intervals that hold for few groups.

The variances maximize the restricted likelihood (REML), as in statsmodels' MixedLM, with which the
tests compare; that one has intervals for many groups only, and its optimizer has no bound at a
variance of zero, which is common with three seeds. Standard errors are adjusted after Kenward &
Roger (1997, Biometrics 53, 983-997), and a contrast has their degrees of freedom, which for one
contrast are Satterthwaite's. V is linear in the variances, so their second-order term vanishes. A
variance that is estimated as zero is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]
ESTIMATOR = "linear mixed model by REML, Kenward-Roger t interval"
NEGLIGIBLE = 1e-4  # a variance below this share of the residual one is zero
# How much log likelihood may be left to gain (half the Newton decrement) when a fit has converged.
TOLERANCE = 1e-3
STARTS = (0.1, 2.0)  # variances between groups to start from, in residual variances


@dataclass(frozen=True)
class Contrast:
    """value with its standard error and degrees of freedom."""

    value: float
    stderr: float
    df: float


@dataclass(frozen=True, eq=False)
class Fit:
    """y (n,), design (n, p), random: name -> (n, levels), only those with a variance above zero.

    variances: of `random`, in its order; residual: variance of e.
    """

    y: Array
    design: Array
    random: Mapping[str, Array]
    variances: tuple[float, ...]
    residual: float

    @cached_property
    def shares(self) -> list[Array]:
        """dV / dvariance of each random effect and of the residual."""
        return [z @ z.T for z in self.random.values()] + [np.eye(len(self.y))]

    @cached_property
    def inverse(self) -> Array:
        """V^-1."""
        parts = zip((*self.variances, self.residual), self.shares)
        total: Array = sum((variance * share for variance, share in parts), np.zeros(1))
        return np.asarray(np.linalg.inv(total), dtype=float)

    @cached_property
    def covariance(self) -> Array:
        """(X' V^-1 X)^-1: of the fixed effects, as if the variances were known."""
        return np.asarray(np.linalg.inv(self.design.T @ self.inverse @ self.design), dtype=float)

    @cached_property
    def coefficients(self) -> Array:
        return self.covariance @ self.design.T @ self.inverse @ self.y

    @cached_property
    def projection(self) -> Array:
        """P = V^-1 - V^-1 X (X' V^-1 X)^-1 X' V^-1."""
        weighted = self.inverse @ self.design
        return self.inverse - weighted @ self.covariance @ weighted.T

    @cached_property
    def information(self) -> Array:
        """Expected information on the variances, tr(P V_i P V_j) / 2."""
        pieces = [self.projection @ share for share in self.shares]
        return np.array([[np.sum(a * b.T) / 2 for b in pieces] for a in pieces])

    @cached_property
    def left_to_gain(self) -> float:
        """Half the Newton decrement of the restricted log likelihood: 0 at its maximum."""
        rest = self.projection @ self.y
        score = [
            (rest @ share @ rest - np.sum(self.projection * share)) / 2 for share in self.shares
        ]
        return float(np.array(score) @ np.linalg.solve(self.information, score)) / 2

    @cached_property
    def adjusted(self) -> Array:
        """Covariance of the fixed effects with what estimating the variances adds to it."""
        spread = np.linalg.inv(self.information)  # of the variances
        weighted = self.inverse @ self.design
        first = [-weighted.T @ share @ weighted for share in self.shares]
        added = np.zeros_like(self.covariance)
        for i, left in enumerate(self.shares):
            half = weighted.T @ left @ self.inverse
            for j, right in enumerate(self.shares):
                both = half @ right @ weighted
                added += spread[i, j] * (both - first[i] @ self.covariance @ first[j])
        return self.covariance + 2 * self.covariance @ added @ self.covariance

    def contrast(self, weights: Sequence[float] | Array) -> Contrast:
        """Of the fixed effects, weights (p,)."""
        weights = np.asarray(weights, dtype=float)
        plain = float(weights @ self.covariance @ weights)
        at = self.inverse @ self.design @ self.covariance @ weights
        return Contrast(
            float(weights @ self.coefficients),
            float(np.sqrt(weights @ self.adjusted @ weights)),
            self._degrees(plain, [float(at @ share @ at) for share in self.shares]),
        )

    def _degrees(self, variance: float, slopes: Sequence[float]) -> float:
        """Satterthwaite's 2 v^2 / Var(v), by the delta method."""
        slopes_ = np.array(slopes)
        return 2 * variance**2 / float(slopes_ @ np.linalg.solve(self.information, slopes_))

    def predicted(self, weights: Sequence[float] | Array, name: str, level: int) -> Contrast:
        """A fixed contrast plus one level of a random effect: the shrunken value of that group,
        with the error of predicting it (Henderson 1975, Biometrics 31, 423-447).
        """
        weights = np.asarray(weights, dtype=float)
        fixed = self.contrast(weights)
        if name not in self.random:  # its variance is zero: every group is the mean
            return fixed
        z = self.random[name][:, level]
        variance = self.variances[list(self.random).index(name)]
        rest = self.projection @ self.y
        value = fixed.value + variance * float(z @ rest)
        own = variance - variance**2 * float(z @ self.projection @ z)
        cross = float(weights @ self.covariance @ self.design.T @ self.inverse @ z) * variance
        error = fixed.stderr**2 + own - 2 * cross
        return Contrast(value, float(np.sqrt(error)), fixed.df)


def groups(labels: Sequence[str] | NDArray[Any], rows: NDArray[np.bool_] | None = None) -> Array:
    """Indicators (n, levels) of the sorted labels; all zero in rows that are not meant."""
    labels = np.asarray(labels)
    meant = np.ones(len(labels), bool) if rows is None else rows
    levels = np.unique(labels[meant])
    return ((labels[:, None] == levels[None]) & meant[:, None]).astype(float)


def fit(y: Array, design: Array, random: Mapping[str, Array]) -> Fit:
    """Raises ValueError when the fixed effects, or two variances, cannot be told apart by these
    rows; RuntimeError when no optimizer finds the maximum.
    """
    y, design = np.asarray(y, dtype=float), np.asarray(design, dtype=float)
    rank = np.linalg.matrix_rank(design)
    if rank < design.shape[1] or len(y) <= rank:
        raise ValueError(f"{len(y)} rows cannot tell {design.shape[1]} fixed effects apart.")
    _tell_apart(design, random)
    if not random:
        rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        return Fit(y, design, {}, (), float(rest @ rest) / (len(y) - rank))
    found = _maximum(y, design, random)
    if found.left_to_gain > TOLERANCE:
        raise RuntimeError(
            f"The mixed model of {', '.join(random)} has not converged: {found.left_to_gain:.2g} "
            "of log likelihood is left to gain."
        )
    return found


def identifiable(design: Array, random: Mapping[str, Array]) -> dict[str, Array]:
    """Those random effects, taken in order, whose variances these rows can tell from each other's
    and from the residual's. What is left out is part of the others.
    """
    kept: dict[str, Array] = {}
    for name, z in random.items():
        if _rank(design, [*kept.values(), z]) == len(kept) + 2:
            kept[name] = z
    return kept


def _tell_apart(design: Array, random: Mapping[str, Array]) -> None:
    if _rank(design, list(random.values())) < len(random) + 1:
        raise ValueError(
            f"The variances of {', '.join(random)} and the rest cannot be told apart by "
            f"{len(design)} rows."
        )


def _rank(design: Array, random: Sequence[Array]) -> int:
    """How many variances (the residual's included) the contrasts free of fixed effects show."""
    left, _, _ = np.linalg.svd(design, full_matrices=True)
    free = left[:, design.shape[1] :]
    seen = [free.T @ z for z in random]
    rows = [(z @ z.T).ravel() for z in seen] + [np.eye(free.shape[1]).ravel()]
    return int(np.linalg.matrix_rank(np.array(rows) @ np.array(rows).T))


class _Profile:
    """-2 log restricted likelihood of the ratios variance / residual variance, both fixed effects
    and residual variance at their best (Harville 1977, JASA 72, 320-338), and its gradient.

    Only cross products of the columns [Z, X, y] are kept, so that a step costs levels^3, whatever
    the number of rows.
    """

    def __init__(self, y: Array, design: Array, random: Mapping[str, Array]) -> None:
        self.sizes = [z.shape[1] for z in random.values()]
        self.levels, self.fixed = sum(self.sizes), design.shape[1]
        self.free = len(y) - self.fixed
        columns = np.column_stack([*random.values(), design, y])
        self.products = columns.T @ columns

    def __call__(self, ratios: Array) -> tuple[float, Array]:
        found, slopes, _ = self.at(ratios)
        return found, slopes

    def at(self, ratios: Array) -> tuple[float, Array, float]:
        """The value, its gradient and the residual variance."""
        levels, last = self.levels, self.levels + self.fixed
        scale = np.sqrt(np.repeat(ratios, self.sizes))
        reach = scale[:, None] * self.products[:levels]  # of Z times scale to all columns
        inner = np.eye(levels) + reach[:, :levels] * scale
        # Woodbury: what is left of all products when H = I + Z D Z' is between them.
        left = self.products - reach.T @ np.linalg.solve(inner, reach)
        fixed = left[levels:last, levels:last]
        shown = left[:, levels:last]
        left = left - shown @ np.linalg.solve(fixed, shown.T)  # P instead of H^-1
        rest = float(left[last, last])
        value = np.linalg.slogdet(inner)[1] + np.linalg.slogdet(fixed)[1]
        at = np.split(np.arange(levels), np.cumsum(self.sizes)[:-1])
        slopes = [
            left[k, k].sum() - self.free * float(left[k, last] @ left[k, last]) / rest for k in at
        ]
        return value + self.free * np.log(rest), np.array(slopes), rest / self.free


def _maximum(y: Array, design: Array, random: Mapping[str, Array]) -> Fit:
    """The best of two starts, little and much variance between groups; no variance is below 0."""
    profile = _Profile(y, design, random)
    ends = [
        minimize(
            profile,
            np.full(len(random), start),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * len(random),
            options={"ftol": 1e-12, "gtol": 1e-6, "maxiter": 500},
        )
        for start in STARTS
    ]
    ratios = min(ends, key=lambda end: float(end.fun)).x
    kept = [k for k, ratio in enumerate(ratios) if ratio > NEGLIGIBLE]
    residual = profile.at(np.where(ratios > NEGLIGIBLE, ratios, 0.0))[2]
    names = list(random)
    return Fit(
        y,
        design,
        {names[k]: random[names[k]] for k in kept},
        tuple(float(ratios[k]) * residual for k in kept),
        residual,
    )
