"""What only some visitors may see: imported models, and all that came of them.

A model that somebody brings is theirs: for others it is not there, on no page and no route. The
machine's own browser and the terminal see everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ngf.config import TrainSpec
from ngf.options import SpecError
from ngf.runs.facts import Facts
from ngf.runs.store import IMPORTED, Look, Run, Store

_NAME = re.compile(r"(?<![a-z0-9-])[a-z0-9-]+-[0-9a-f]{10}(?![a-z0-9-])")  # of a run


class Visitor(Protocol):
    """id: the owner of the runs that it asks for. machine: whether it may see everything. known:
    whether it can prove its id.
    """

    @property
    def id(self) -> str: ...
    @property
    def machine(self) -> bool: ...
    @property
    def known(self) -> bool: ...


def may_see(facts: Facts, training: Facts | None, visitor: Visitor) -> bool:
    """Whether a visitor may see a run, in a store with imported models.

    training: what the run goes back to. Where that is not known it may be an import, so the run is
    for who asked for it.
    """
    owned = facts if training is None else training
    spec = owned.spec
    if visitor.machine or (isinstance(spec, TrainSpec) and not spec.imported):
        return True
    return visitor.known and owned.request["owner"] == visitor.id


class Seen(Store):
    """A store as one visitor sees it. It shares everything with the whole one."""

    def __init__(self, whole: Store, visitor: Callable[[], Visitor]) -> None:
        """visitor: tells who looks; asked only where something is private."""
        vars(self).update(vars(whole))
        self._whole, self._visitor = whole, visitor

    def look(self) -> Look:
        whole = self._whole.look()
        if not whole.imports or (visitor := self._visitor()).machine:
            return whole
        seen = {
            run: facts
            for run, facts in whole.facts.items()
            if may_see(facts, whole.training(facts), visitor)
        }
        # what a damaged folder was is not known, so its name is for the machine's own eyes
        return replace(whole, facts=seen, damaged={})

    def hides(self, text: str) -> bool:
        whole = self._whole.look()
        if not (whole.imports or IMPORTED in text) or self._visitor().machine:
            return False
        there = {run.id for run in whole.facts} | whole.damaged.keys()
        hidden = there - {run.id for run in self.look().facts}
        gone = (name for name in _NAME.findall(text) if name not in there)
        return any(name.startswith(IMPORTED) for name in gone) or any(
            name in text for name in hidden
        )

    def _open(self, name: str) -> Run | None:
        try:
            found = self._whole._open(name)
        except SpecError:
            whole = self._whole.look()
            if whole.imports and not self._visitor().machine:
                return None
            raise
        if found is None or found.source != "user":
            return found
        training = found.training()
        if training is None:
            shown = not self._whole.look().imports
        else:
            shown = not training.spec.imported
        about = training.facts if training else None
        return found if shown or may_see(found.facts, about, self._visitor()) else None
