"""Weights that a run leaves on its way, so that curvature can be measured along it afterwards or
meanwhile.

A run keeps the tensors that differ from where it started, at up to `MAX_KEPT` steps that lie closer
together at the beginning, where most happens. They live in `path/<lane>/<step>.safetensors` (lane
`model` for a training).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ngf.checkpoints.weights import check_like, read_tensors
from ngf.models.bounds import BOUND, bounds_for
from ngf.runs.files import READABLE
from ngf.runs.folder import steps_at

MAX_KEPT = 16  # steps of one lane: enough for a curve, and each is measured for seconds
MAX_BYTES = 64 * 2**20  # of one lane; a large network keeps fewer steps
LOOK_SECONDS = 0.1  # between two looks for the next waypoint of a run that goes on


@dataclass(frozen=True)
class Waypoint:
    """The state (parameters and buffers) after `step` of `steps`."""

    step: int
    steps: int
    state: Mapping[str, Tensor]


def kept_steps(steps: int, most: int = MAX_KEPT) -> set[int]:
    """At most `most` steps of 1 ... steps, the last one among them; their distances grow evenly."""
    return (
        {max(1, round(steps * (k / most) ** 2)) for k in range(1, most + 1)}
        if steps and most
        else set()
    )


class Keeper:
    """Writes the waypoints of one lane into `folder`. start: the model before the first step."""

    def __init__(self, folder: Path, start: nn.Module, steps: int) -> None:
        self.folder = folder
        self.start = {name: value.detach().clone() for name, value in start.state_dict().items()}
        self.steps, self.wanted = steps, kept_steps(steps)
        self._planned = frozenset(self.wanted)

    def may_keep(self, step: int, steps: int) -> bool:
        """Whether this step is one of those that are kept where there is space for all, or the last
        one: the same whether a run was resumed or not.
        """
        return step in self._planned or step == steps

    def __call__(self, step: int, model: nn.Module, steps: int | None = None) -> None:
        """Keep the weights of `model` if this step is among those to keep, or the last one;
        writing one again changes nothing.

        steps: how many are planned by now, where that can change.
        """
        target = self.folder / f"{step:06d}.safetensors"
        if (step not in self.wanted and step != steps) or target.exists():
            return
        changed = {
            name: value.detach().cpu().contiguous()
            for name, value in model.state_dict().items()
            if name not in self.start or not torch.equal(value, self.start[name])
        }
        size = sum(value.numel() * value.element_size() for value in changed.values())
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            self.wanted &= kept_steps(self.steps, min(MAX_KEPT, MAX_BYTES // max(1, size))) | {step}
        temporary = target.with_suffix(".tmp")
        save_file(changed, temporary)
        temporary.chmod(READABLE)
        os.replace(temporary, target)


def waypoint(folder: Path, step: int, steps: int, start: Mapping[str, Tensor]) -> Waypoint:
    """The waypoint of `step`; what it did not keep is as in `start`, and bounds that were added
    since (see `ngf.models.bounds`) are among its state. Raises WeightsError when its
    file is damaged, holds NaN, or is of another model.
    """
    path = folder / f"{step:06d}.safetensors"
    advice = (
        f"Delete {folder.parent.parent.name} and start it again, or measure its last weights alone."
    )
    changed = read_tensors(path, advice)
    bounds = {f"{name}.{BOUND}": value for name, value in bounds_for(changed, start).items()}
    check_like({name: changed[name] for name in changed.keys() - bounds}, start, path, advice)
    state = {
        name: changed[name].to(value.device) if name in changed else value
        for name, value in start.items()
    }
    device = next(iter(start.values())).device
    return Waypoint(step, steps, state | {name: value.to(device) for name, value in bounds.items()})


def waypoints(
    folder: Path,
    steps: Callable[[], int],
    start: Mapping[str, Tensor],
    going: Callable[[], bool] = lambda: False,
) -> Iterator[Waypoint]:
    """The start and every waypoint after it, ascending; while the run is `going`, waits for the
    next one.

    steps: how many the run plans, as far as it is known.
    """
    yield Waypoint(0, steps(), start)
    done = 0
    while done < (steps() or math.inf):
        more = going()  # asked first: what was written before the end is seen below
        new = [step for step in steps_at(folder) if step > done]
        if new:
            done = new[0]
            yield waypoint(folder, done, steps(), start)
        elif more:
            time.sleep(LOOK_SECONDS)
        else:
            return
