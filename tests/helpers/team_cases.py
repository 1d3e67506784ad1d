"""Small trainings that one process and a team must agree on: the test calls them alone, and has
`python -m tests.helpers.team_cases FOLDER` started as a team. Each leaves there what it has found.
"""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ngf.config import Training
from ngf.data.images import Images
from ngf.runs.recorder import Stopped
from ngf.training.loop import Trainer
from ngf.training.team import ALONE, Several, Team, Work, joined
from tests.helpers.attack_view import attack, view

COUNT, CLASSES = 40, 4
SETTINGS = Training(num_images=COUNT, epochs=3, batch_size=7, lr=0.05)  # 7: parts of two sizes
CPU = torch.device("cpu")
Found = dict[str, Tensor]


class Exact(nn.Sequential):
    """A network that computes in float64, whatever it is given."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())


def plain() -> nn.Module:
    return _net(nn.Flatten(), nn.Linear(192, 9), nn.Tanh(), nn.Linear(9, CLASSES))


def normalized() -> nn.Module:
    """BatchNorm over pixels and over features, with and without weights."""
    return _net(
        *(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(180, 6), nn.BatchNorm1d(6, affine=False, momentum=None)),
        nn.Linear(6, CLASSES),
    )


def _net(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for layer in layers:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return Exact(*layers).double()


def images() -> Images:
    rng = torch.Generator().manual_seed(2)
    return Images(
        torch.randint(0, 256, (COUNT, 3, 8, 8), generator=rng, dtype=torch.uint8),
        torch.randint(0, CLASSES, (COUNT,), generator=rng),
    )


def trainer(model: nn.Module, team: Team, settings: Training = SETTINGS, **more: Any) -> Trainer:
    flips = [True, False, True, True]
    return Trainer(model, images(), settings, seed=3, survives_flip=flips, team=team, **more)


@contextmanager
def sums_in_float64() -> Iterator[None]:
    """For the training loop, which adds up losses in torch's default type."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def trained(build: Callable[[], nn.Module], settings: Training = SETTINGS) -> Callable[..., Found]:
    def case(team: Team) -> Found:
        loop = trainer(build(), team, settings)
        with sums_in_float64():
            losses = torch.tensor([epoch.loss for epoch in loop])
        return {"losses": losses, **loop.model.state_dict()}

    return case


def resumed(team: Team) -> Found:
    """The same as `trained(normalized)`, stopped after an epoch; the first process alone knows
    where it was.
    """
    before = trainer(normalized(), team)
    with sums_in_float64():
        next(iter(before))
    buffer = io.BytesIO()
    torch.save(before.state_dict(), buffer)
    after = trainer(normalized(), team)
    if team.rank == 0:
        buffer.seek(0)
        after.load_state_dict(torch.load(buffer))
    with sums_in_float64():
        for _ in after:
            pass
    return after.model.state_dict()


def attacked(name: str, **options: Any) -> Callable[..., Found]:
    """What an attacker inside the loop makes of one batch, in float64: the loss, the gradients, and
    its trigger after a step. The first process hands it out; the others have nothing of their own.
    """

    def case(team: Team) -> Found:
        torch.manual_seed(team.rank)
        data, attacker = view().train, None
        if isinstance(team, Several) and team.rank > 0:
            work = team.receive(CPU)
            data, attacker = work.data, work.attacker
            assert work.facts == {"classes": ["a", "b"]}
        else:
            attacker = attack(name, **options).attacker(view(), nn.Identity())
            getattr(attacker, "networks", nn.Module()).double()
            data = team.hand_out(Work(data, {"classes": ["a", "b"]}, attacker), CPU)
        model = _net(nn.Flatten(), nn.Linear(3 * 32 * 32, 12))
        network, batch = team.network(model, True, whole=True), data.take(slice(0, 25))
        loss = attacker.loss(
            network, batch.floats().double(), batch.labels, torch.Generator().manual_seed(5)
        )
        loss.backward()
        gradients = {
            f"{where}.{key}": weight.grad
            for where, module in (("model", model), ("own", getattr(attacker, "networks", None)))
            if module is not None
            for key, weight in module.named_parameters()
            if weight.grad is not None
        }
        gradients = {key: gradient.clone() for key, gradient in gradients.items()}
        attacker.step(0.5)
        return {"loss": loss.detach(), "images": data.images, **gradients, **attacker.trigger()}

    return case


def stopped(team: Team) -> Found:
    """The third step is not taken: by the word of the first process, all stop there."""
    loop, steps = trainer(plain(), team), 0

    def before_step() -> None:
        nonlocal steps
        if team.rank == 0 and steps == 2:
            if isinstance(team, Several):
                team.stop()
            raise Stopped
        if team.rank == 0:
            team.go_on()
        elif isinstance(team, Several):
            team.wait()
        steps += 1

    loop.before_step = before_step
    with suppress(Stopped):
        next(iter(loop))
    return {"steps": torch.tensor(steps), **loop.model.state_dict()}


APART = Training(**{**SETTINGS.__dict__, "processes": 3, "sync_batch_norm": False})
CASES: dict[str, Callable[..., Found]] = {
    "plain": trained(plain),
    "normalized": trained(normalized),
    "apart": trained(normalized, APART),
    "resumed": resumed,
    "input_aware": attacked("input_aware", mask_epochs=1),
    "lira": attacked("lira"),
    "feature_space": attacked("feature_space"),
    # of one image the others have no part
    "feature_space, one image": attacked("feature_space", detox_rate=0.04),
    "composite": attacked("composite"),
    "stopped": stopped,
}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined(CPU) as team:
        found = {name: copy.deepcopy(case(team)) for name, case in CASES.items()}
        torch.save(found, folder / f"{team.rank}.pt")


def alone(name: str) -> Found:
    return CASES[name](ALONE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
