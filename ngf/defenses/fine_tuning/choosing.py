"""From a suspicious model and clean images to a running fine-tuning: which layer, which learning
rate, go.

Both choices look at clean images only. **The learning-rate rule**, the same for every method: go
down the method's grid and take the first rate whose fine-tuned model loses at most one point of
accuracy on the clean validation set. The largest harmless rate, because a defender wants to get as
far away from the suspicious weights as clean accuracy allows.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ngf.data.images import Images
from ngf.defenses.contract import Chosen, LayerScore, Step
from ngf.defenses.fine_tuning.layer_choice import fisher_traces, pick, score_layers
from ngf.defenses.fine_tuning.loop import FineTuning, scope
from ngf.evaluate import accuracy
from ngf.training.loop import Diverged

TOLERATED_DROP = 0.01
_MEANING = {
    "fisher": "Of all layers this one has the largest Fisher trace on the clean images.",
    "auto": "Tuned in turn on clean images, it is among the layers that leave least of what a "
    "small universal perturbation can do, and of those the one with the largest Fisher trace.",
}


@dataclass(frozen=True)
class Problem:
    """What a defender has: a model (never changed), clean images, clean validation images; all on
    one device.

    No trigger and no test set: a defense cannot peek at what it does not hold.
    """

    model: nn.Module
    clean: Images
    validation: Images
    seed: int = 0
    survives_flip: list[bool] | None = None


class Purification:
    """A purification in progress. Iterating yields LayerScore, Chosen, then one Step after another.

    `model` is usable after every event. A purification restored by `load_state_dict` goes on with
    the next step.
    """

    def __init__(self, defense: Any, problem: Problem) -> None:
        self.defense, self.problem = defense, problem
        self.chosen: Chosen | None = None
        self.tuning: FineTuning | None = None

    @property
    def model(self) -> nn.Module:
        return self.problem.model if self.tuning is None else self.tuning.model

    def __iter__(self) -> Iterator[LayerScore | Chosen | Step]:
        if self.tuning is None:
            layer, why = self.defense.layer, ""
            if layer in _MEANING:
                why = _MEANING[layer]
                layer = yield from self._choose_layer(layer)
            lr = self.defense.lr
            if lr == 0:
                lr, reason = choose_lr(self.defense, self.problem, layer)
                why = f"{why} {reason}".strip()
            self._start(layer, lr, why)
            yield self.chosen
        yield from self.tuning

    def _choose_layer(self, criterion: str) -> Generator[LayerScore, None, str]:
        p = self.problem
        traces = fisher_traces(p.model, p.clean.images, p.seed)
        if criterion == "fisher":
            for name, trace in traces.items():
                yield LayerScore(name, trace)
            return max(traces, key=traces.__getitem__)
        lr = self.defense.lr or self.defense.lr_grid[len(self.defense.lr_grid) // 2]
        scores = {}
        for scored in score_layers(
            p.model,
            p.clean,
            p.validation,
            p.seed,
            lambda layer: finished(self.defense, p, layer, lr),
        ):
            scores[scored.layer] = scored.score
            yield scored
        return pick(scores, traces)

    def _start(self, layer: str, lr: float, why: str) -> None:
        self.tuning = begin(self.defense, self.problem, layer, lr)
        self.chosen = Chosen(layer, lr, self.tuning.num_parameters(), why)

    def state_dict(self) -> dict:
        """Tensors and plain values; empty while the purification is still choosing."""
        if self.tuning is None:
            return {}
        return {"chosen": asdict(self.chosen), "tuning": self.tuning.state_dict()}

    def load_state_dict(self, state: Mapping) -> None:
        if state:
            self._start(state["chosen"]["layer"], state["chosen"]["lr"], state["chosen"]["why"])
            self.tuning.load_state_dict(state["tuning"])


def begin(defense: Any, problem: Problem, layer: str, lr: float) -> FineTuning:
    """A fine-tuning of a copy of the problem's model. Raises SpecError for a layer that is
    not there.
    """
    model = copy.deepcopy(problem.model)
    layers = scope(model, layer, norms=defense.tunes_norms)
    rule = defense.rule(model, layers)
    tuning = FineTuning(
        model,
        problem.clean,
        rule,
        layers,
        lr=lr,
        steps=defense.steps,
        batch_size=defense.batch_size,
        batch_norm=defense.batch_norm,
        seed=problem.seed,
        survives_flip=problem.survives_flip,
    )
    rule.begin(tuning)
    return tuning


def finished(defense: Any, problem: Problem, layer: str, lr: float) -> nn.Module:
    """The model after a whole fine-tuning. Raises Diverged."""
    tuning = begin(defense, problem, layer, lr)
    for _ in tuning:
        pass
    return tuning.model


def choose_lr(defense: Any, problem: Problem, layer: str) -> tuple[float, str]:
    """The learning rate that the rule picks, and the reason in one sentence."""
    start = accuracy(problem.model, problem.validation)
    for lr in defense.lr_grid:
        try:
            tuned = finished(defense, problem, layer, lr)
        except Diverged:
            continue
        kept = accuracy(tuned, problem.validation)
        if kept >= start - TOLERATED_DROP:
            return lr, (
                f"{lr:g} is the largest rate of the grid that keeps clean validation accuracy "
                f"within one point ({start:.1%} before, {kept:.1%} after)."
            )
    return (
        lr,
        f"No rate of the grid keeps clean validation accuracy within one point; {lr:g} is the "
        "smallest.",
    )
