"""Times single steps of the real training and the real defenses on random images, so that a run's
time is known before.

A second or two for each case, one step where that takes longer. The images are noise and the
weights untrained, which changes no time but that of a layer chosen by its Fisher trace: another one
may be chosen than in a trained network. Steps are fastest when nothing else computes; what is kept
is what was found, whatever else was running.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ngf import models
from ngf.attacks.base import Attack, InLoop, Prepared
from ngf.catalogue import build, options_of
from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.data.images import Images
from ngf.defenses.contract import ChoosesFirst, Defense, Problem, Step
from ngf.defenses.fine_tuning.options import FOLDS
from ngf.defenses.work import known, value_of
from ngf.environment import device, environment, exact_numerics, use_threads
from ngf.options import SpecError
from ngf.predictions import predict
from ngf.progress import Progress, quiet
from ngf.timing import estimate
from ngf.training.attacker import AttackerView, InLoopAttacker
from ngf.training.loop import Trainer
from ngf.training.surrogate import AdversarialTraining

BUDGET = 1.0  # seconds for the steps of one kind
_MOST = 21  # steps of one kind, at most; the Kronecker factors of NGF are renewed every ten
_CHOOSING = 64  # clean images that a layer is chosen on
_VALUES = 2**26  # numbers in the random images, at most


class _Enough(Exception):
    """Enough was timed."""


class _Clock:
    """Takes the time before every step and raises `_Enough` after `least` steps or more, when
    that will do.
    """

    def __init__(self, where: torch.device, least: int) -> None:
        self.where, self.least = where, least
        self.at: list[float] = []

    def __call__(self) -> None:
        _wait(self.where)
        self.at.append(time.perf_counter())
        done = len(self.at) - 1
        if done >= _MOST or done >= self.least and self.at[-1] - self.at[0] > BUDGET:
            raise _Enough

    def begin(self) -> float:
        """Count from now on; returns the time."""
        _wait(self.where)
        self.at = [time.perf_counter()]
        return self.at[0]

    def steps(self) -> list[float]:
        """Seconds of each step."""
        return [after - before for before, after in zip(self.at, self.at[1:], strict=False)]

    def step(self) -> float:
        """Seconds of a step: the median without the first one, which pays for memory, where
        there are more.
        """
        found = self.steps()
        return statistics.median(found[1:] or found)


class _Phases:
    """A `progress` that sees how fast an attack gets on with its preparation, and stops it
    when that is clear.
    """

    def __init__(self, where: torch.device) -> None:
        self.where, self.begun, self.phase = where, time.perf_counter(), ""
        self.total: float | None = None  # seconds of the whole preparation, when it was stopped

    def __call__(self, phase: str, step: int, steps: int) -> None:
        _wait(self.where)
        now = time.perf_counter()
        if phase != self.phase:
            self.phase, self.marks = phase, [(now, step)]
            return
        self.marks.append((now, step))
        if now - self.marks[0][0] > BUDGET and step > self.marks[0][1]:
            # without the first part, which pays for memory, where there are more
            (start, first), (end, last) = (
                self.marks[1 if len(self.marks) > 2 else 0],
                self.marks[-1],
            )
            self.total = start - self.begun + (end - start) / (last - first) * (steps - first)
            raise _Enough

    def seconds(self) -> float:
        return time.perf_counter() - self.begun if self.total is None else self.total


def calibrate(
    spec: TrainSpec | PurifySpec, model: str, data: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Time everything that a run needs, keep it, and return `times` by case and the `seconds` of
    the whole run.

    model, data: of the training that is purified. Raises SpecError for what would be refused
    anyhow, DataError when the files of a data set have to be read first and are not there.
    """
    exact_numerics()
    use_threads()
    if isinstance(spec, TrainSpec) and spec.training.processes > 1:
        raise SpecError("Steps of several processes are not timed: leave training.processes out.")
    facts = build("data", Choice(data)).facts
    wanted = estimate.cases(spec, model, facts)
    if wanted is None:
        raise SpecError(
            f"The size of the images of {data!r} is not known: put its files in place first."
        )
    for k, case in enumerate(wanted):
        say(
            f"Timing {case.model} on {'x'.join(map(str, case.shape))}, batches of {case.batch_size}"
            + (f", {spec.lanes[k].name}" if isinstance(spec, PurifySpec) else "")
            + " ..."
        )
        times = (
            training_times(spec, case, facts)
            if isinstance(spec, TrainSpec)
            else lane_times(spec.lanes[k], case, facts)
        )
        case.keep(times, environment=environment(), made_at=time.time())
    return {
        "times": [case.times() for case in wanted],
        "seconds": estimate.time_of(spec, model, facts),
        "environment": environment(),
    }


def training_times(
    spec: TrainSpec, case: estimate.Case, facts: Mapping[str, Any]
) -> dict[str, float]:
    """Seconds of a step of the victim, of its surrogates' steps for each of them, of the
    preparation, and of measuring one image. Raises SpecError when the attack does not suit the
    data.
    """
    where = device()
    attack: Attack = build("attacks", spec.attack)
    attack.check(case.num_classes, case.shape)
    each, batch = torch.Size(case.shape).numel(), case.batch_size
    data = _noise(batch * max(1, min(4, _VALUES // (batch * each))), case, where)

    def step(attacker: InLoopAttacker | None) -> float:
        # one in a thousand epochs, so that the rate is still low and nothing diverges
        trainer = Trainer(
            _model(case, where),
            data,
            replace(spec.training, batch_size=batch, lr=1e-3, epochs=1000),
            seed=0,
            survives_flip=facts.get("survives_flip"),
            attacker=attacker,
        )
        clock = trainer.before_step = _Clock(where, least=1)
        try:
            for _ in trainer:
                pass
        except _Enough:
            return clock.step()
        raise AssertionError("a thousand epochs are more steps than are timed")

    attacker, seconds, surrogates = _prepared(attack, spec, case, data, facts, where)
    plain = step(None)
    extra = (plain if False in surrogates else 0.0) + (
        step(AdversarialTraining()) if True in surrogates else 0.0
    )
    return {
        "step": step(attacker) if attacker else plain,
        "surrogate": extra,
        "prepare": seconds,
        "image": _image_time(_model(case, where), data),
    }


def _prepared(
    attack: Attack,
    spec: TrainSpec,
    case: estimate.Case,
    data: Images,
    facts: Mapping[str, Any],
    where: torch.device,
) -> tuple[InLoopAttacker | None, float, set[bool]]:
    """The attacker in the loop if there is one, the seconds of a whole preparation, and the clean
    models it asks for: True for a robust one, False for another.
    """
    if not isinstance(attack, (Prepared, InLoop)):
        return None, 0.0, set()
    surrogates: set[bool] = set()

    def view(train: Images, progress: Progress) -> AttackerView:
        def surrogate(robust: bool) -> nn.Module:
            surrogates.add(robust)
            return _model(case, where).eval()

        return AttackerView(
            train=train,
            num_classes=case.num_classes,
            seed=0,
            build=lambda: _model(case, where),
            surrogate=surrogate,
            survives_flip=facts.get("survives_flip"),
            progress=progress,
        )

    count = spec.training.num_images
    # one image, as often as the training set is large: takes no memory
    whole = Images(data.images[:1].expand(count, -1, -1, -1), _labels(count, case, where))
    phases = _Phases(where)
    try:
        if isinstance(attack, Prepared):
            attack.prepare(view(whole, phases))
        else:
            attack.attacker(view(whole, phases), _model(case, where))
    except _Enough:
        pass
    seconds = phases.seconds()
    if not isinstance(attack, InLoop):
        return None, seconds, surrogates
    few = Images(data.images[:256], data.labels[:256])
    return attack.attacker(view(few, quiet), _model(case, where)), seconds, surrogates


def lane_times(lane: Choice, case: estimate.Case, facts: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of a defense: choosing its layer and beginning, for each clean image; its first step,
    a later one and its work, and measuring one image; and how many steps it plans.
    """
    where = device()
    lane = _at_most(lane, case.batch_size)
    defense: Defense = build("defenses", lane)
    data, choose = _noise(max(case.batch_size, _CHOOSING), case, where), 0.0
    if isinstance(defense, ChoosesFirst):
        some = Images(data.images[:_CHOOSING], data.labels[:_CHOOSING])
        problem = _problem(case, some, facts, where)
        started = time.perf_counter()
        defense = defense.with_choices_made(problem, steps=_MOST)
        _wait(where)
        choose = (time.perf_counter() - started) / _CHOOSING
    # Enough for the parts that judge settings to be a batch each.
    clean = _noise(FOLDS * case.batch_size, case, where)
    # The first step may hold what later ones do not, and a phase may end at once.
    clock, begun = _Clock(where, least=4 if hasattr(defense, "phases") else 2), 0.0
    purification, did = defense.purify(_problem(case, clean, facts, where)), list[str]()
    planned, started = purification.steps, time.perf_counter()
    try:
        for event in purification:
            if not isinstance(event, Step) or event.step == 0:
                begun = clock.begin() - started
            else:
                did.append(getattr(event, "phase", ""))
                clock()
    except _Enough:
        pass
    steps = list(zip(clock.steps(), _works(defense, did, case), strict=True))
    later = [one for one in steps[1:] if one[1]] or steps
    return {
        "choose": choose,
        "begin": begun / len(clean),
        "first": steps[0][0],
        "step": statistics.mean(seconds for seconds, _ in later),
        "work": statistics.mean(work for _, work in later),
        "steps": planned,
        "image": _image_time(_model(case, where), data),
    }


def _at_most(lane: Choice, batch_size: int) -> Choice:
    """A defense with batches of this size, where it has such an option."""
    if "batch_size" not in options_of("defenses", lane):
        return lane
    return Choice(lane.name, {**lane.options, "batch_size": batch_size})


def _works(defense: Defense, did: Sequence[str], case: estimate.Case) -> list[float]:
    """The work of steps that were part of these phases, 0 for next to none; 1 where all steps are
    alike.
    """
    phases = {phase.name: phase.work for phase in getattr(defense, "phases", ())}
    if not phases:
        return [1.0] * len(did)
    names = known(vars(defense), FOLDS * case.batch_size, case.num_classes)
    return [value_of(phases[phase], names) if phase in phases else 0.0 for phase in did]


def _problem(
    case: estimate.Case, clean: Images, facts: Mapping[str, Any], where: torch.device
) -> Problem:
    return Problem(_model(case, where).eval(), clean, clean, 0, facts.get("survives_flip"))


def _model(case: estimate.Case, where: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return models.build(case.model, case.num_classes, *case.shape[:2]).to(where)


def _noise(count: int, case: estimate.Case, where: torch.device) -> Images:
    """Random images, and every class in turn."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *case.shape), generator=rng, dtype=torch.uint8)
    return Images(images.to(where), _labels(count, case, where))


def _labels(count: int, case: estimate.Case, where: torch.device) -> torch.Tensor:
    return torch.arange(count, device=where) % case.num_classes


def _image_time(model: nn.Module, data: Images) -> float:
    """Seconds that measuring takes for one image."""
    for count in (32, 500):  # as many as are measured at once, where a few are quick
        images = data.images[torch.arange(count, device=data.images.device) % len(data)]
        predict(model, images)
        _wait(images.device)
        started = time.perf_counter()
        predict(model, images)
        _wait(images.device)
        seconds = time.perf_counter() - started
        if seconds > BUDGET / 20:
            break
    return seconds / count


def _wait(where: torch.device) -> None:
    """Until a device that computes beside the program has done what it was asked."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    elif where.type == "mps":
        torch.mps.synchronize()
