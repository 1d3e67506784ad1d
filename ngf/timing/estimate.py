"""How long a run takes on this machine, computed from steps that were timed here. No torch.

`ngf.timing.calibrate` times single steps of the real training and the real defenses and keeps what
it finds below `cache_dir()/calibration`, one file for each machine and `Case`. `time_of` puts a run
together from these times; pages and command line ask it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ngf.catalogue import catalogue, options_of
from ngf.config import NUM_LIVE, Choice, PurifySpec, TrainSpec
from ngf.defenses.fine_tuning.options import FOLDS_OF, tunings
from ngf.defenses.work import known, value_of
from ngf.machine import machine
from ngf.places import cache_dir
from ngf.runs.files import read_json, to_json, write_atomic

# What does not change the time of a step, or is accounted for apart.
_FREE = (
    *("steps", "lr", "damping", "trust_region", "inverse_period", "schedule"),
    *("radius_schedule", "largest_change", "adaptive", "factor_decay", "average"),
)
_VERSION = 2  # of what is kept: times of a version before are not found


@dataclass(frozen=True)
class Case:
    """What the time of a step depends on. shape: (C, H, W); work: the attack or defense with
    what matters of it.
    """

    model: str
    shape: tuple[int, int, int]
    num_classes: int
    batch_size: int
    work: str = ""

    @property
    def path(self) -> Path:
        """The file of this case on this machine, whether it is there or not."""
        text = json.dumps(
            [
                _VERSION,
                machine(),
                *(self.model, self.shape, self.num_classes, self.batch_size, self.work),
            ],
            sort_keys=True,
        )
        return (
            cache_dir() / "calibration" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        )

    def times(self) -> dict[str, float] | None:
        """What was timed here, in seconds; None when nothing was."""
        found = read_json(self.path)
        return None if found is None else found["times"]

    def keep(self, times: Mapping[str, float], **about: Any) -> None:
        """Write what was timed here; `about` says by what."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found = {"case": asdict(self), "machine": machine(), **about, "times": times}
        write_atomic(self.path, to_json(found))


def classes_of(facts: Mapping[str, Any]) -> int:
    """How many classes a data set has; 0 when it is not known before its files are read."""
    return len(facts.get("classes") or ()) or facts.get("num_classes", 0)


def training_case(spec: TrainSpec, facts: Mapping[str, Any]) -> Case | None:
    """The case of a training on data with these `facts` (`shape`, `classes`); None when they
    are not known, and for several processes, whose steps are not timed.
    """
    if spec.training.processes > 1 or not facts.get("shape") or not classes_of(facts):
        return None
    about = catalogue()["attacks"].get(spec.attack.name, {})
    work = ""
    # else a poisoned image is an image like any other
    if about.get("prepared") or about.get("controlled"):
        work = json.dumps([spec.attack.to_json(), spec.training.num_images])
    return Case(
        spec.model,
        tuple(facts["shape"]),
        classes_of(facts),
        min(spec.training.batch_size, spec.training.num_images),
        work,
    )


def lane_case(lane: Choice, model: str, facts: Mapping[str, Any], num_clean: int) -> Case | None:
    """The case of one defense on a model trained on data with these `facts`."""
    if not facts.get("shape") or not classes_of(facts):
        return None
    options = options_of("defenses", lane)
    kept = {name: value for name, value in options.items() if name not in _FREE}
    return Case(
        model,
        tuple(facts["shape"]),
        classes_of(facts),
        min(options.get("batch_size", 128), num_clean),
        json.dumps([lane.name, kept], sort_keys=True),
    )


def cases(spec: TrainSpec | PurifySpec, model: str, facts: Mapping[str, Any]) -> list[Case] | None:
    """Everything that has to be timed for a run; None when it is not known what. model: of a
    purification's parent.
    """
    found = (
        [training_case(spec, facts)]
        if isinstance(spec, TrainSpec)
        else [lane_case(lane, model, facts, spec.num_clean) for lane in spec.lanes]
    )
    known = [case for case in found if case is not None]
    return known if len(known) == len(found) else None


def time_of(spec: TrainSpec | PurifySpec, model: str, facts: Mapping[str, Any]) -> float | None:
    """Seconds that a run takes here by what was timed; None when something was not."""
    wanted = cases(spec, model, facts) or []
    times = [found for case in wanted if (found := case.times()) is not None]
    if not times or len(times) < len(wanted):
        return None
    tests = facts.get("pools", {}).get("test", 0)
    if isinstance(spec, TrainSpec):
        return training_time(spec, times[0], tests)
    layers = len(catalogue()["models"].get(model, {}).get("layers", ()))
    folds = FOLDS_OF[spec.choosing]
    lanes = sum(
        lane_time(lane, found, spec.num_clean, layers, folds, classes_of(facts))
        for lane, found in zip(spec.lanes, times, strict=True)
    )
    # At the end all test images, clean and triggered, are measured before and after each defense.
    return lanes + (1 + len(spec.lanes)) * 2 * tests * times[0]["image"]


def work_of(lane: Choice, num_clean: int, num_classes: int) -> float | None:
    """What a defense computes in all its phases, in the units of `ngf.defenses.work`; None for one
    whose steps are all alike.
    """
    phases = catalogue()["defenses"].get(lane.name, {}).get("phases")
    if phases is None:
        return None
    names = known(options_of("defenses", lane), num_clean, num_classes)
    return sum(value_of(one["steps"], names) * value_of(one["work"], names) for one in phases)


def training_time(spec: TrainSpec, times: Mapping[str, float], tests: int) -> float:
    """Seconds of a training. times: `step`, `surrogate` (what its clean models add to each step),
    `prepare`, and `image` (one image measured); tests: images of the test set.
    """
    t = spec.training
    steps = t.epochs * max(1, t.num_images // min(t.batch_size, t.num_images))
    kinds = 1 if spec.attack.name == "none" else 2  # clean and triggered
    return (
        steps * (times["step"] + times["surrogate"])
        + times["prepare"]
        + kinds * (t.epochs * NUM_LIVE + tests) * times["image"]
    )


def lane_time(
    lane: Choice,
    times: Mapping[str, float],
    num_clean: int,
    layers: int,
    folds: int = 1,
    num_classes: int = 0,
) -> float:
    """Seconds of one defense with its live measuring.

    times: `choose` and `begin` (for each clean image), `first` step, `step` after it and the `work`
        that one was, `image`; `steps` of a defense that has no such option.
    folds: tunings behind each judgment of a setting.
    """
    options = options_of("defenses", lane)
    work = work_of(lane, num_clean, num_classes)
    # of such a step as was timed
    steps = (options.get("steps") or times["steps"]) if work is None else work / times["work"]
    period = options.get("inverse_period", math.inf)
    # factors are inverted in the first step, and again now and then
    slow = max(0.0, times["first"] - times["step"])
    tuning = (
        times["begin"] * num_clean
        + steps * times["step"]
        + slow * max(1, math.ceil(steps / period))
    )
    seconds = times["choose"] * num_clean + tunings(options, layers, folds=folds) * tuning
    return seconds + min(seconds / 2, steps * 2 * NUM_LIVE * times["image"])
