"""What a defense that masks or prunes tells of its steps."""

from __future__ import annotations

from dataclasses import dataclass

from ngf.defenses.contract import Step


@dataclass(frozen=True)
class MaskStep(Step):
    """One step of a defense that masks.

    phase: what was done in it: `unlearn`, `disturb` (what the masks stand against is
        sought), `mask`, `prune` or `tune`.
    kept: what masks leave, in [0, 1]: their mean while they are learned, the share of units that
        are not pruned after that.
    """

    phase: str
    kept: float
