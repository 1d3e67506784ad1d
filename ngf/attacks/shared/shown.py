"""Whether an attack does what it claims, by what was measured of its probes on models of several
seeds. No torch: pages and the command line ask here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

# Shares called what the attacker wants: from the first on a backdoor counts as open, up to the
# second as shut. What lies between is neither.
OPEN, SHUT = 0.8, 0.2


@dataclass(frozen=True)
class Opened:
    """What one probe did, on one model for each seed.

    name: of the probe.
    claims: what the attack says: True, it opens the backdoor; False, it does not; None, nothing.
    called: for each model the share that is called what the attacker wants.
    kept: for each model the share that keeps its true class.
    n: images for each model.
    """

    name: str
    claims: bool | None
    called: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    n: list[int] = field(default_factory=list)

    @property
    def shown(self) -> bool | None:
        """Whether the claim holds for the mean over models; None where nothing is claimed."""
        return self._holds(fmean(self.called))

    @property
    def always(self) -> bool | None:
        """Whether it holds for every model; None where nothing is claimed."""
        return None if self.claims is None else all(map(self._holds, self.called))

    def _holds(self, share: float) -> bool | None:
        if self.claims is None:
            return None
        return share >= OPEN if self.claims else share <= SHUT


def over_seeds(cards: Iterable[Mapping[str, Any]]) -> list[Opened]:
    """What each probe did, in the order of the cards (see `ngf.attacks.opens`); a card without
    `opens`, measured before there were probes, adds nothing.
    """
    found: dict[tuple[str, bool | None], Opened] = {}
    for card in cards:
        for row in card.get("opens", ()):
            probe = found.setdefault(
                (row["name"], row["claims"]), Opened(row["name"], row["claims"])
            )
            probe.called.append(row["called_wanted"])
            probe.kept.append(row["keeps_label"])
            probe.n.append(row["n"])
    return list(found.values())


def failed(probes: Iterable[Opened]) -> list[Opened]:
    """Those that do not do what is claimed of them; the property of the attack is shown when there
    are none.
    """
    return [probe for probe in probes if probe.shown is False]
