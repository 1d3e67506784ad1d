"""Times the steps of a run in a child process, `python -m ngf calibrate`, so that the web process
never imports torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import streamlit as st

from dashboard.kit import library
from dashboard.kit.library import ModelSpec
from ngf.config import PurifySpec, TrainSpec
from ngf.machine import cores
from ngf.options import SpecError
from ngf.places import child_environment

_ONE = threading.Lock()


class Job:
    """A child process that times the steps of one run."""

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
        """Whether it is still at work."""
        return self._process.poll() is None

    @cached_property
    def problem(self) -> str:
        """The last line that it printed when it failed, else empty. Waits for its end."""
        _, printed = self._process.communicate()
        if not self._process.returncode:
            return ""
        return (printed.strip().splitlines() or ["It ended without a word."])[-1][:300]


@st.cache_resource(show_spinner=False)
def _jobs() -> dict[str, Job]:
    """The child processes of this server, by what they time."""
    return {}


def start(spec: ModelSpec) -> None:
    """Time the steps of `spec` in a child process, unless one is at work already: two would slow
    each other down.
    """
    with _ONE:
        if not busy():
            _jobs()[_key(spec)] = Job(arguments(spec))


def busy() -> bool:
    """Whether a child process is at work."""
    return any(job.going for job in _jobs().values())


def job_of(spec: ModelSpec) -> Job | None:
    """The child process that times `spec`, at work or done; None when none was started."""
    return _jobs().get(_key(spec))


def arguments(spec: ModelSpec) -> list[str]:
    """The arguments of `python -m ngf calibrate` for a run. Raises SpecError when the model of a
    purification was deleted.
    """
    if isinstance(spec, TrainSpec):
        return _of_training(spec)
    origin = library.origin(spec)
    if origin is None:
        raise SpecError(f"{spec.parent}, the model to purify, was deleted.")
    return _of_purification(spec, origin)


def _of_training(spec: TrainSpec) -> list[str]:
    chosen = ["--data", spec.data, "--model", spec.model, "--attack", spec.attack.name]
    of_training = {
        f"training.{name}": getattr(spec.training, name)
        for name in ("num_images", "batch_size", "epochs")
    }
    of_attack = {f"attack.{name}": value for name, value in spec.attack.options.items()}
    return [*chosen, *_set(of_training | of_attack)]


def _of_purification(spec: PurifySpec, origin: TrainSpec) -> list[str]:
    chosen = ["--data", origin.data, "--model", origin.model, "--num-clean", str(spec.num_clean)]
    chosen += [word for lane in spec.lanes for word in ("--defense", lane.name)]
    of_lanes = {
        f"{lane.name}.{name}": value for lane in spec.lanes for name, value in lane.options.items()
    }
    return [*chosen, *_set(of_lanes)]


def _set(options: Mapping[str, Any]) -> list[str]:
    return ["--set", *(f"{name}={value}" for name, value in options.items())] if options else []


def _key(spec: ModelSpec) -> str:
    return json.dumps(arguments(spec))
