"""What computes, and a record of it that goes beside every number."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy
import torch
import torchvision
from torch import Tensor

import ngf
from ngf.machine import cores, cpu_name
from ngf.options import SpecError
from ngf.runs.files import read_text, write_atomic

_MOST_THREADS = 512  # more are a damaged file
_DEVICES = ("auto", "cpu", "cuda", "mps")


def device() -> torch.device:
    """The device that `NGF_DEVICE` asks for (auto: a GPU where there is one). Raises SpecError."""
    wanted = os.environ.get("NGF_DEVICE", "auto")
    if wanted not in _DEVICES:
        raise SpecError(f"NGF_DEVICE = {wanted!r} is not known. Allowed: {', '.join(_DEVICES)}.")
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[wanted]:
        raise SpecError(
            f"NGF_DEVICE = {wanted}, but there is no such device here. Use auto or cpu."
        )
    return torch.device(wanted)


def wide(where: torch.device | Tensor) -> torch.dtype:
    """The widest floating-point type of a device, or of a tensor's: float64, on mps float32."""
    chosen = where.device if isinstance(where, Tensor) else where
    return torch.float32 if chosen.type == "mps" else torch.float64


def use_threads() -> None:
    """As many threads as `NGF_THREADS` says, which a supervisor sets for what it starts."""
    if os.environ.get("NGF_THREADS"):
        torch.set_num_threads(int(os.environ["NGF_THREADS"]))


def keep_threads(path: Path) -> None:
    """Let a run that goes on compute with as many threads as it began with, because sums of floats
    depend on how they are divided; what it began with is kept in the file `path`.
    """
    use_threads()  # the run before in this process may have had others
    kept = (read_text(path) or "").strip()
    if kept.isdigit() and int(kept):
        torch.set_num_threads(min(int(kept), _MOST_THREADS))
    else:
        write_atomic(path, str(torch.get_num_threads()))


def exact_numerics() -> None:
    """float32 means float32: TF32 off, and the same algorithm for the same shapes."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def environment() -> dict[str, str | int]:
    """Versions and hardware, for result.json."""
    chosen = device()
    hardware = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else cpu_name()
    return {
        "ngf": ngf.__version__,
        "numbers": ngf.NUMBERS,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "device": chosen.type,
        "hardware": hardware,
        "cores": cores(),
        "threads": torch.get_num_threads(),
    }
