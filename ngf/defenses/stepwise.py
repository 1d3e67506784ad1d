"""What purifications have in common that go step by step over a copy of the model: the copy, what
is random in a step, the check that all is finite, events, and going on from a state.

A method says what a step does (`advance`), what it keeps besides the model (`kept`, `restore`),
and, where it has one, how it settles its strength before the first step (`prepared`).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch

from ngf.defenses.batches import step_rng
from ngf.defenses.contract import Event, Problem, Step
from ngf.finite import Diverged


class Stepwise(ABC):
    """A purification in progress (see `ngf.defenses.contract.Purification`).

    model: a copy that `advance` changes; in eval mode after every event.
    settled: whether `prepared` is done; a state from before begins anew.
    """

    def __init__(self, problem: Problem, steps: int) -> None:
        self.problem, self.steps = problem, steps
        self.model = copy.deepcopy(problem.model).eval()
        self.step = -1
        self.settled = False

    def prepared(self) -> Generator[Event, None, None]:
        """Settle what has to be known before the first step, and tell of it; the model stays as it
        came.
        """
        yield from ()

    @abstractmethod
    def advance(self, rng: torch.Generator) -> float | None:
        """Take the next step, number `self.step` from 0, and return its loss (nats), None where
        there is none.

        rng: on the CPU, for all that is random in this step.
        """

    def event(self, loss: float | None) -> Step:
        """What is told of the model as it is now; a family adds fields."""
        return Step(self.step, self.steps, loss)

    def kept(self) -> dict[str, Any]:
        """What is needed to go on besides the model: tensors and plain values."""
        return {}

    def restore(self, kept: Mapping[str, Any]) -> None:  # noqa: B027  many keep nothing
        """Go on from what `kept` gave."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """For result.json, with `steps` and `did` (see the contract)."""

    def __iter__(self) -> Iterator[Event]:
        if self.step < 0:
            self.step = 0
            yield self.event(None)
        if not self.settled:
            yield from self.prepared()
            self.settled = True
        while self.step < self.steps:
            try:
                loss = self.advance(step_rng(self.problem.seed, self.step))
            except Diverged as error:
                raise error.at(self.step) from error
            if loss is not None and not math.isfinite(loss):
                raise Diverged("The loss is no longer a number", self.step)
            self.step += 1
            self.model.eval()
            yield self.event(loss)

    def state_dict(self) -> dict[str, Any]:
        """Empty while the purification still chooses."""
        if not self.settled:
            return {}
        return {
            "step": self.step,
            "steps": self.steps,
            "model": self.model.state_dict(),
            "kept": self.kept(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not state:
            return
        self.settled, self.step, self.steps = True, state["step"], state["steps"]
        self.model.load_state_dict(state["model"])
        self.model.eval()
        self.restore(state["kept"])
