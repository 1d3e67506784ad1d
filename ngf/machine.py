"""What computes here, as far as can be told without torch."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ngf.places import ROOT

_COMPUTING = ("ngf", "analysis")  # packages whose code decides what a run gives


def machine() -> dict[str, Any]:
    """What makes times comparable: processor, graphics cards, what `NGF_DEVICE` asks for, and
    the version of torch.
    """
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "gpus": gpu_names(),
        "torch": torch_version(),
        "device": os.environ.get("NGF_DEVICE", "auto"),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    }


def was_made_here(environment: Mapping[str, Any]) -> bool:
    """Whether the `environment` of a result is this machine's, with the device that a run
    would get now.
    """
    asked = os.environ.get("NGF_DEVICE", "auto")
    device = asked if asked != "auto" else "cuda" if gpu_names() else environment.get("device")
    return (
        environment.get("hardware") in (cpu_name(), *gpu_names())
        and environment.get("device") == device
        and environment.get("cores") == cores()
        and str(environment.get("torch")).split("+")[0] == torch_version()
    )


def cores() -> int:
    return os.cpu_count() or 1


def peak_memory() -> float:
    """The most bytes that this process had in memory at once; infinite where nobody counts them."""
    try:
        import resource  # not on every system
    except ImportError:
        return math.inf
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


@cache
def torch_version() -> str:
    """Without the part that names a build."""
    return version("torch").split("+")[0]


@cache
def source_digest() -> str:
    """Short digest of the code that executes runs, as this process found it when it asked first."""
    digest = hashlib.sha256()
    for path in sorted(path for name in _COMPUTING for path in (ROOT / name).rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:10]


@cache
def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def gpu_names() -> tuple[str, ...]:
    """Names of NVIDIA cards, as their driver tells them without torch."""
    found = []
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = dict(
            line.split(":", 1)
            for line in info.read_text(encoding="utf-8").splitlines()
            if ":" in line
        )
        found.append(lines.get("Model", "").strip())
    return tuple(found)
