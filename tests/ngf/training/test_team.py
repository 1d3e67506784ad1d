"""Three processes take the same steps as one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from ngf.catalogue import catalogue
from ngf.places import ROOT
from tests.helpers.team_cases import CASES, Found, alone

pytestmark = pytest.mark.usefixtures("one_thread")
TEAM, CASES_MODULE = 3, "tests.helpers.team_cases"
Team = list[dict[str, Found]]


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Team:
    """What each of the processes found in every case."""
    folder = tmp_path_factory.mktemp("team")
    done = subprocess.run(
        [sys.executable, "-m", "ngf.training.agent", str(TEAM), CASES_MODULE, str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(TEAM)]


def furthest(a: Found, b: Found) -> float:
    assert a.keys() == b.keys()
    return max((a[key].double() - b[key].double()).abs().max().item() for key in a)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("apart", "resumed")])
def test_a_team_finds_what_one_process_finds(team, name):
    """Losses, weights, running statistics, gradients of attackers: in float64, so that only the
    order of sums differs.
    """
    for found in team:
        assert furthest(found[name], alone(name)) < 1e-10


def test_every_attacker_inside_the_loop_is_among_them():
    attacks = catalogue()["attacks"].items()
    assert {name for name, about in attacks if about["controlled"]} <= CASES.keys()


def test_batch_norm_of_each_process_alone_gives_other_numbers(team):
    apart = [found["apart"] for found in team]
    assert furthest(apart[0], alone("normalized")) > 1e-3
    weights = [
        {key: value for key, value in found.items() if key.endswith((".weight", ".bias"))}
        for found in apart
    ]
    assert all(furthest(weights[0], other) == 0 for other in weights[1:]), "one model all the same"


def test_a_resumed_team_goes_on_to_the_last_bit(team):
    for found in team:
        undisturbed = {key: found["normalized"][key] for key in found["resumed"]}
        assert furthest(found["resumed"], undisturbed) == 0
