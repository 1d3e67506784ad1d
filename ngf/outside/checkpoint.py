"""Opens a checkpoint that a stranger brings; writes weights back in the form in which they came.

A child process looks at the file (`ngf.outside.opening`), shut in and limited, and runs nothing of
it. What it hands back is checked again here before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ngf.outside.opening.child import ANSWER, ANSWER_BYTES, TENSORS
from ngf.outside.opening.plan import BYTES, Planned, dense
from ngf.outside.opening.refusal import Ask, Limits, NotOpened, megabytes, plain, some
from ngf.outside.opening.safetensors_file import places, read, write
from ngf.outside.pictures import why_not
from ngf.places import child_environment
from ngf.runs.files import READABLE

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Ask", "Form", "Limits", "NotOpened", "Opened", "open_checkpoint", "write_like"]

_SMALLER = "Bring a smaller model, or save its weights in half precision."
_LONGEST = 2000  # characters of a sentence of the child
_ONE_THREAD = {
    "CUDA_VISIBLE_DEVICES": "",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_EXTRA = {"classes": list, "image_size": int, "num_classes": int, "model_name": str}


@dataclass(frozen=True)
class Form:
    """How a file held its weights: all that is needed to write others in the same form.

    container: "pt" or "safetensors".
    path: keys of the dictionaries around the state dict, from the outside in; () for a plain one.
    prefix: what was taken off all names, such as "module.".
    dtypes: the type in which each tensor came, by its name without the prefix, in their order.
    """

    container: str
    path: tuple[str, ...]
    prefix: str
    dtypes: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The form as plain JSON."""
        return {**asdict(self), "path": list(self.path)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Form:
        """What `to_json` gave. Raises ValueError for anything else."""
        try:
            path, dtypes = tuple(given["path"]), dict(given["dtypes"])
            form = cls(given["container"], path, given["prefix"], dtypes)
        except (KeyError, TypeError, ValueError):
            raise ValueError("no form of a checkpoint") from None
        texts = (form.prefix, *path, *dtypes)
        good = form.container in ("pt", "safetensors") and all(type(t) is str for t in texts)
        if not good or not all(dtype in BYTES for dtype in dtypes.values()):
            raise ValueError("no form of a checkpoint")
        return form


@dataclass(frozen=True)
class Opened:
    """The weights of a file.

    tensors: by name without the prefix; floating ones as float32, others as they are; contiguous,
        on the CPU, in the order of the file.
    form: how the file held them.
    sha256: of the whole file.
    notes: sentences for the user: what was unwrapped, converted and left out.
    extra: plain values that help to recognize the model, if the file has them: "classes" (list of
        names), "image_size", "num_classes" (int), "model_name" (str).
    """

    tensors: dict[str, Tensor]
    form: Form
    sha256: str
    notes: tuple[str, ...]
    extra: dict[str, Any]


def open_checkpoint(path: Path, pick: str = "", *, limits: Limits = Limits()) -> Opened:  # noqa: B008
    """The weights in `path`: a file of torch.save or safetensors, whatever its name.

    pick: which of several sets of weights, one of the options of an earlier Ask.

    Raises NotOpened for whatever gives no weights, Ask where a file holds several sets of them.
    """
    with _file(path, limits) as file:
        folder = Path(tempfile.mkdtemp(prefix="ngf-checkpoint-"))
        try:
            before = os.fstat(file.fileno())
            sha256 = _look_apart(file, path, folder, pick, limits)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise NotOpened("The file changed while it was read.", advice="Try again.")
            return _believed(folder, sha256, limits)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _file(path: Path, limits: Limits) -> IO[bytes]:
    """`path` opened, if it is a regular file of a size that is read. Waits for no pipe."""
    flags = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    try:
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode):
            raise NotOpened(
                "This is a link, not a file.", advice="Bring the file that it leads to."
            )
        handle = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
    except (OSError, ValueError) as error:
        why = why_not(error) if isinstance(error, OSError) else "no name of a file"
        if isinstance(error, NotOpened):
            raise
        raise NotOpened(
            f"The file was {why}." if why == "not found" else f"The file {why}.",
            advice="Check where it lies, and whether you may read it.",
        ) from None
    about = os.fstat(handle)
    if stat.S_ISREG(about.st_mode) and about.st_size <= limits.file_bytes:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISREG(about.st_mode):
        raise NotOpened(
            f"The file is too large: {megabytes(about.st_size)}; {megabytes(limits.file_bytes)} "
            "are the limit.",
            advice=_SMALLER,
        )
    what = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe, a socket or a device"
    raise NotOpened(f"This is {what}, not a file.", advice="Bring one file with weights.")


def _look_apart(file: IO[bytes], path: Path, folder: Path, pick: str, limits: Limits) -> str:
    """Let a child look at `file`, and meanwhile count its SHA-256. Raises NotOpened where the child
    came to no answer.
    """
    handle = file.fileno()
    posix = os.name == "posix"
    with open(folder / "log", "wb") as log:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ngf.outside.opening.child",
                str(handle) if posix else str(path.absolute()),
                str(folder),
                json.dumps(asdict(limits)),
                pick,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=child_environment(**_ONE_THREAD),
            cwd=folder,
            pass_fds=(handle,) if posix else (),
        )
        try:
            sha256 = _digest(handle)
            child.wait(limits.wall_seconds)
        except subprocess.TimeoutExpired:
            raise NotOpened(
                f"Opening the file took longer than {limits.wall_seconds:g} s, which are the "
                "limit.",
                advice=_SMALLER,
            ) from None
        finally:
            child.kill()
            child.wait()
    if child.returncode:
        raise _ended(child.returncode, folder / "log", limits)
    return sha256


def _digest(handle: int) -> str:
    """SHA-256 of a file, without moving the position that the child shares."""
    digest, position = hashlib.sha256(), 0
    if not hasattr(os, "pread"):  # Windows, where the child opens the file itself
        with open(os.dup(handle), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    while part := os.pread(handle, 2**20, position):
        digest.update(part)
        position += len(part)
    return digest.hexdigest()


def _ended(code: int, log: Path, limits: Limits) -> NotOpened:
    """Why a child ended without an answer."""
    if code == -getattr(signal, "SIGXCPU", 0):
        return NotOpened(
            f"Opening the file took more than {limits.cpu_seconds} s of processor time, which are "
            "the limit.",
            advice=_SMALLER,
        )
    if code == -getattr(signal, "SIGKILL", 0):
        return NotOpened(
            "The system ended the program that opened the file, as a rule because memory is short.",
            advice=_SMALLER,
        )
    lines = log.read_bytes()[-_LONGEST:].decode("utf-8", "replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    how = f"signal {-code}" if code < 0 else f"code {code}"
    return NotOpened(
        f"The program that opened the file ended with {how}{': ' if last else ''}{plain(last)}.",
        advice="The file is damaged or was made to do harm; save the weights again.",
    )


def _believed(folder: Path, sha256: str, limits: Limits) -> Opened:
    """The answer of the child, if all of it is what an answer must be."""
    with open(folder / ANSWER, "rb") as file:
        text = file.read(ANSWER_BYTES + 1)
    try:
        said = json.loads(text)
        if "ask" in said:
            raise Ask(tuple(str(option) for option in said["ask"]))
        if "limit" in said:
            raise NotOpened(
                f"Opening the file took more than {megabytes(limits.memory_bytes)} of memory, "
                "which are the limit.",
                advice=_SMALLER,
            )
        if "refused" in said:
            raise NotOpened(str(said["refused"])[:_LONGEST], advice=str(said["advice"])[:_LONGEST])
        form = Form.from_json(said["form"])
        promised = {
            str(name): Planned(dtype, tuple(size), dense(size), 0, math.prod(size))
            for name, (dtype, size) in said["tensors"].items()
        }
        notes = tuple(str(note)[:_LONGEST] for note in said["notes"])
        notes += tuple(f"This system does not limit the {what}." for what in said["unlimited"])
        extra = {name: said["extra"][name] for name in _EXTRA if name in said["extra"]}
    except (NotOpened, Ask):
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _no_answer() from error
    if any(type(value) is not _EXTRA[name] for name, value in extra.items()):
        raise _no_answer()
    return Opened(_tensors(folder / TENSORS, form, promised, limits), form, sha256, notes, extra)


def _tensors(
    path: Path, form: Form, promised: Mapping[str, Planned], limits: Limits
) -> dict[str, Tensor]:
    """The weights that the child left, if they are what it promised."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        found = places(file, size, limits)
        if {name: place.tensor for name, place in found.items()} != promised:
            raise _no_answer()
        if list(found) != list(form.dtypes) or any(
            place.tensor.dtype != Planned(form.dtypes[name], ()).as_read()
            for name, place in found.items()
        ):
            raise _no_answer()
        return {name: read(file, place) for name, place in found.items()}


def _no_answer() -> NotOpened:
    return NotOpened(
        "The program that opened the file gave no proper answer.",
        advice="The file is damaged or was made to do harm; save the weights again.",
    )


def write_like(form: Form, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write `tensors`, named as in `Opened.tensors`, atomically to `path` in the form in which they
    came, so that the code they came from loads them with `strict=True`.

    Raises ValueError for names that are missing or too many, and for values that do not fit the
    type in which they came.
    """
    if tensors.keys() != form.dtypes.keys():
        missing, extra = form.dtypes.keys() - tensors.keys(), tensors.keys() - form.dtypes.keys()
        raise ValueError(
            f"The weights are not those of the form: it lacks {some(sorted(missing)) or 'nothing'}"
            f" and has {some(sorted(extra)) or 'nothing'} too many."
        )
    state = {
        form.prefix + name: _as_it_came(name, tensors[name], dtype)
        for name, dtype in form.dtypes.items()
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            _write(form, state, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, READABLE)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _as_it_came(name: str, tensor: Tensor, dtype: str) -> Tensor:
    import torch

    value = tensor.detach().cpu()
    made = value.to(getattr(torch, dtype)).contiguous()
    lost = made.float().isfinite().logical_not() & value.float().isfinite()
    if made.is_floating_point() and lost.any():
        raise ValueError(f"The weights {plain(name)} are too large for {dtype}.")
    # Memory of its own: torch.save would write all of what a view looks at.
    return made.clone() if made.data_ptr() == tensor.data_ptr() else made


def _write(form: Form, state: dict[str, Tensor], file: IO[bytes]) -> None:
    import torch

    if form.container == "safetensors":
        promised = {
            full: Planned(str(value.dtype).removeprefix("torch."), tuple(value.shape))
            for full, value in state.items()
        }
        write(file, promised, state.items())
        return
    whole: dict[str, Any] = dict(state)
    for key in reversed(form.path):
        whole = {key: whole}
    torch.save(whole, file)
