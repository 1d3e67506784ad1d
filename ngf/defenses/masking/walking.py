"""How far pruning goes: from the mildest setting of a list on, as long as clean accuracy stays.

The rule of `ngf.defenses.strength`, for settings that are cheap to judge one after another: the
strongest with no harmful one before it, where a setting that costs more than one point of clean
accuracy harms. Where the mildest harms, it is taken all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from ngf.defenses.contract import Problem
from ngf.defenses.judging import Judge
from ngf.defenses.strength import TOLERATED_DROP, is_harmless


class Walk:
    """The settings on the way, and clean accuracy after those that were judged.

    settings: the mildest first.
    purified: makes of a setting and a part of the problem the model that is judged.
    """

    def __init__(
        self,
        settings: Sequence[float],
        judge: Judge,
        purified: Callable[[float, Problem], nn.Module],
    ) -> None:
        self.settings, self.judge, self.purified = list(settings), judge, purified
        self.after: list[float] = []

    def goes_on(self, k: int) -> bool:
        """Whether setting k + 1 is to be taken after setting k; judges what is not judged yet."""
        for place in range(len(self.after), min(k + 2, len(self.settings))):
            if place and not self._harmless(place - 1):
                break
            self.after.append(self._judged(self.settings[place]))
        return len(self.after) > k + 1 and self._harmless(k + 1)

    def _judged(self, setting: float) -> float:
        return self.judge.after(lambda part: self.purified(setting, part), TOLERATED_DROP)

    def _harmless(self, k: int) -> bool:
        return is_harmless(self.after[k], self.judge.start)

    def why(self, name: str, *, most: str, k: int, on: str = "") -> str:
        """The reason for setting k, in one sentence.

        name: what a setting is called.
        most: the strongest one in a word, `largest`.
        on: what judged, where there is more to say than `Judge.words`.
        """
        chosen, kept, start = self.settings[k], self.after[k], self.judge.start
        numbers = f"{start:.1%} before, {kept:.1%} after, {on or self.judge.words}"
        if not self._harmless(k):
            return (
                f"Every {name} costs more than one point of clean accuracy ({numbers}); "
                f"{chosen:g} is the mildest."
            )
        end = (
            f"the next, {self.settings[k + 1]:g}, does not"
            if k + 1 < len(self.settings)
            else "nothing stronger was tried"
        )
        return (
            f"{chosen:g} is the {most} {name} that keeps clean accuracy within one point "
            f"({numbers}; {end})."
        )

    def state_dict(self) -> dict[str, Any]:
        return {"settings": self.settings, "after": self.after}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.settings, self.after = list(state["settings"]), list(state["after"])
