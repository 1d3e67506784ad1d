"""What only some visitors may see: imported models, and all that came of them.

A model that somebody brings is theirs: for others it is not there, on no page and no route. The
machine's own browser and the terminal see everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ngf.config import TrainSpec
from ngf.runs.facts import Facts
from ngf.runs.store import Look, Run, Store


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


def is_private(training: Facts | None) -> bool:
    """Whether a run that goes back to this training is its owner's alone."""
    return (
        training is not None
        and isinstance(training.spec, TrainSpec)
        and bool(training.spec.imported)
    )


def may_see(training: Facts | None, visitor: Visitor) -> bool:
    """Whether a visitor may see a run that goes back to this training; None for a training that was
    deleted.
    """
    if training is None or not is_private(training) or visitor.machine:
        return True
    return visitor.known and training.request["owner"] == visitor.id


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
            if may_see(whole.training(facts), visitor)
        }
        # what a damaged folder was is not known, so its name is for the machine's own eyes
        return replace(whole, facts=seen, damaged={})

    def _open(self, name: str) -> Run | None:
        found = self._whole._open(name)
        if found is None or found.source != "user":
            return found
        training = found.training()
        facts = training.facts if training else None
        return found if not is_private(facts) or may_see(facts, self._visitor()) else None
