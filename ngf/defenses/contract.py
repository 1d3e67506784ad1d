"""What a defense and the runner promise each other. The runner asks nothing else.

    purification = defense.purify(problem)
    for event in purification:
        ...  # purification.model is usable after every event

A defense of any kind fits: it tunes layers, prunes units, learns masks, unlearns, distills. It
never measures itself; the runner counts CA, ASR and RA between its steps, so that no defense can
peek.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from ngf.data.images import Images
from ngf.defenses.fine_tuning.options import FOLDS


@dataclass(frozen=True)
class Problem:
    """What a defender has: a model (never changed) and clean images; all on one device.

    No trigger and no test set: a defense cannot peek at what it does not hold.

    validation: further clean images, to choose settings by; None where there are no others, and
        settings are chosen within `clean`.
    survives_flip: for each class, whether a mirrored image still belongs to it; None for all.
    folds: parts into which `clean` is divided to choose settings within it.
    """

    model: nn.Module
    clean: Images
    validation: Images | None
    seed: int = 0
    survives_flip: list[bool] | None = None
    folds: int = FOLDS


@dataclass(frozen=True)
class Event:
    """Something that a purification has to tell. A family has events of its own.

    kind: its type in events.jsonl, where its fields follow.
    """

    kind: ClassVar[str]


@dataclass(frozen=True)
class Step(Event):
    """The model after `step` of `steps`; step 0 is the model as it came. A family adds fields.

    steps: how many are planned; fewer later on where that depends on what is found.
    loss: on this step's clean images (nats), None where there is none.
    """

    kind: ClassVar[str] = "step"
    step: int
    steps: int
    loss: float | None


@dataclass(frozen=True)
class Choosing(Event):
    """What a defense is about to try before its first step; a trial takes up to some whole
    fine-tunings, so it is told before and not after.

    what: the option that is chosen: `layer`, or the one that says how far a tuning goes.
    tried: its value in this trial; None while what the trials are judged by is prepared, or where
        one look tells all.
    number: of this trial, from 1; 0 where none is under way.
    total: how many there will be; None where the rule finds its end by itself.
    """

    kind: ClassVar[str] = "choosing"
    what: str
    tried: str | float | None = None
    number: int = 0
    total: int | None = None


class Purification(Protocol):
    """A purification in progress. Iterating gives its events, a `Step` with number 0 first.

    Deterministic for the seed of its problem. It can be stopped after any event, and one that was
    restored by `load_state_dict` goes on with the next step, to the last bit.
    """

    @property
    def model(self) -> nn.Module:
        """The model as it is now, in eval mode."""
        ...

    @property
    def step(self) -> int:
        """Steps that are done; -1 before the first event."""
        ...

    @property
    def steps(self) -> int:
        """Steps that are planned now; it may become fewer, never more."""
        ...

    def __iter__(self) -> Iterator[Event]: ...

    def summary(self) -> dict[str, Any]:
        """For result.json: what was chosen and done, plain JSON.

        `steps` is how many were done. What is known by these names is shown: `layer`, `lr`, or
        `did`, what was done in words (`pruned 12 of 64 units`).
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, enough to go on from here."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Defense(Protocol):
    """A plug-in: a frozen dataclass of options with a `title`."""

    @property
    def title(self) -> str: ...

    def purify(self, problem: Problem) -> Purification: ...


@runtime_checkable
class ChoosesFirst(Protocol):
    """A defense whose first steps are not like the others, or that looks for something before them.

    What is not told by this, timing takes for granted: that all steps take as long.
    """

    def with_choices_made(self, problem: Problem, *, steps: int) -> Defense:
        """The same defense with as many steps and nothing to find out before them: they are timed
        alone.
        """
        ...
