"""The curve of benign models: a measure as a smooth function of clean loss or accuracy, and where
it may be used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.statistics.mixed import Array

KNOTS = 4  # three slopes, for ten to twenty points along a training
# A value is in the range when so many trainings go at least as far, on both sides: not one alone.
REACHED_BY = 2
MARGIN = 0.7  # reference points up to this far (in log loss: a factor 2) beyond the models count


@dataclass(frozen=True)
class Curve:
    """low, high: the range of the covariate in which models are compared. knots: of the natural
    cubic spline.
    """

    low: float
    high: float
    knots: tuple[float, ...]

    @classmethod
    def of(cls, x: Array, training: np.ndarray, knots: int = KNOTS) -> Curve:
        """x (n,): covariate of the reference's points; training (n,): which training each is of.

        Raises ValueError for fewer than 3 trainings.
        """
        names = np.unique(training.astype(str))
        if len(names) < 3:
            raise ValueError(
                f"The reference has {len(names)} benign trainings: at least 3 are needed to tell "
                "their spread."
            )
        least = sorted(x[training.astype(str) == name].min() for name in names)
        most = sorted(x[training.astype(str) == name].max() for name in names)
        low, high = float(least[REACHED_BY - 1]), float(most[-REACHED_BY])
        inside = np.unique(x[(x >= low) & (x <= high)])
        num = min(knots, len(inside))
        places = (
            np.quantile(inside, np.linspace(0, 1, num)) if num > 1 else np.array([low, low + 1])
        )
        return cls(low, high, tuple(float(place) for place in places))

    def covers(self, x: Array) -> np.ndarray:
        return (x >= self.low) & (x <= self.high)

    def near(self, x: Array, models: Array) -> np.ndarray:
        """Which points of the reference shape the curve: those near the models' range."""
        return (x >= models.min() - MARGIN) & (x <= models.max() + MARGIN)

    def basis(self, x: Array) -> Array:
        """Natural cubic spline without its constant, (n, knots - 1): cubic between the knots and
        straight beyond (Hastie, Tibshirani & Friedman, Elements of Statistical Learning, 2nd ed.,
        eq. 5.4 and 5.5). Two knots give a straight line.
        """
        first, last = self.knots[0], self.knots[-1]
        x = (x - first) / (last - first)
        knots = (np.array(self.knots) - first) / (last - first)

        def d(k: int) -> Array:
            cubes = np.maximum(x - knots[k], 0) ** 3 - np.maximum(x - 1, 0) ** 3
            return cubes / (1 - knots[k])

        end = len(knots) - 2
        return np.column_stack([x] + [d(k) - d(end) for k in range(end)])
