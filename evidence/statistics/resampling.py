"""Bootstrap weights for a sample of benign models and attacks with several models each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evidence.statistics.tables import BENIGN

DRAWS = 2000  # the ends of a 95 % interval then vary by about 3 % of its half width


def weights(
    attacks: NDArray[np.object_], rng: np.random.Generator, draws: int = DRAWS
) -> NDArray[np.float64]:
    """How often each model (row) counts in each resample, (draws, n).

    Benign models are drawn among themselves. Attacks are drawn with all their models: the models of
    an attack are not independent, and drawing within it again would count their spread twice
    (Davison & Hinkley 1997, Bootstrap Methods, section 3.8).
    """
    out = np.zeros((draws, len(attacks)))
    benign = np.flatnonzero(attacks == BENIGN)
    if len(benign):
        even = np.full(len(benign), 1 / len(benign))
        out[:, benign] = rng.multinomial(len(benign), even, size=draws)
    names = np.unique(attacks[attacks != BENIGN].astype(str))
    if len(names):
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        for k, name in enumerate(names):
            out[:, attacks == name] = times[:, [k]]
    return out


def least_squares(
    y: NDArray[np.float64], design: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients (draws, p) of weighted least squares, weight (draws, n)."""
    left = np.einsum("rn,np,nq->rpq", weight, design, design, optimize=True)
    right = np.einsum("rn,np,n->rp", weight, design, y, optimize=True)
    return np.linalg.solve(left, right[..., None])[..., 0]
