"""Times the steps of a run in a child, `python -m ngf calibrate`, so that the web process
never imports torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from functools import cached_property

import streamlit as st

from dashboard.kit import library
from ngf.config import PurifySpec, TrainSpec
from ngf.machine import cores
from ngf.places import child_environment

_ONE = threading.Lock()


class Job:
    """A child that times the steps of one run."""

    def __init__(self, arguments: list[str]) -> None:
        environment = child_environment(NGF_THREADS=str(cores()))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ngf", "calibrate", "--json", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )

    @property
    def going(self) -> bool:
        return self._process.poll() is None

    @cached_property
    def problem(self) -> str:
        """Why it failed, in its last line; empty when it did not. Asked for when it has ended."""
        _, said = self._process.communicate()
        return (
            (said.strip().splitlines() or ["It ended without a word."])[-1][:300]
            if self._process.returncode
            else ""
        )


@st.cache_resource(show_spinner=False)
def _jobs() -> dict[str, Job]:
    """The children of this server, by what they time."""
    return {}


def start(spec: TrainSpec | PurifySpec) -> None:
    """Time the steps of `spec` in a child, unless one is at it: two at once would slow each
    other down.
    """
    with _ONE:
        if not busy():
            _jobs()[_key(spec)] = Job(arguments(spec))


def busy() -> bool:
    """Whether a child is at work."""
    return any(job.going for job in _jobs().values())


def job_of(spec: TrainSpec | PurifySpec) -> Job | None:
    """The child that times `spec`, at work or done; None when it was not asked for."""
    return _jobs().get(_key(spec))


def arguments(spec: TrainSpec | PurifySpec) -> list[str]:
    """The words of `python -m ngf calibrate` for a run."""
    if spec.kind == "train":
        kept = {
            f"training.{name}": getattr(spec.training, name)
            for name in ("num_images", "batch_size", "epochs")
        }
        kept |= {f"attack.{name}": value for name, value in spec.attack.options.items()}
        chosen = ["--data", spec.data, "--model", spec.model, "--attack", spec.attack.name]
    else:
        origin = library.find(spec.parent).spec
        kept = {
            f"{lane.name}.{name}": value
            for lane in spec.lanes
            for name, value in lane.options.items()
        }
        chosen = [
            "--data",
            origin.data,
            "--model",
            origin.model,
            "--num-clean",
            str(spec.num_clean),
        ]
        chosen += [word for lane in spec.lanes for word in ("--defense", lane.name)]
    return [
        *chosen,
        *(["--set", *(f"{name}={value}" for name, value in kept.items())] if kept else []),
    ]


def _key(spec: TrainSpec | PurifySpec) -> str:
    return json.dumps(arguments(spec))
