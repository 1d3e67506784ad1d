"""Files of torch.save, in today's zip archives and in the streams from before PyTorch 1.6: first
read as numbers, then, if these add up, by `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import IO, Any

from ngf.outside.opening.pickled import UNUSED, Found, Unused, scan
from ngf.outside.opening.refusal import Limits, NotOpened, damaged, megabytes, plain

_END = struct.Struct("<4s4H2LH")  # of a zip archive, without a comment
_MOST_RECORDS = 100_000
_PICKLE = "data.pkl"
_PROGRAM = (
    "Where its code is, run `torch.save(torch.jit.load('model.pt').state_dict(), 'weights.pt')`, "
    "and bring weights.pt."
)


def found_in_zip(file: IO[bytes], size: int, limits: Limits) -> Found:
    """What an archive promises, with the sizes of all records checked. Raises NotOpened."""
    records = _directory(file, size)
    folder = _folder(list(records))
    about = records[f"{folder}{_PICKLE}"]
    if about.file_size > limits.structure_bytes:
        raise _large_structure(about.file_size, limits)
    try:
        with zipfile.ZipFile(file) as archive, archive.open(about) as record:
            pickled = record.read(limits.structure_bytes + 1)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError):
        raise damaged("its structure cannot be read") from None
    found = scan(io.BytesIO(pickled))
    for storage in found.storages.values():
        record_of = records.get(f"{folder}data/{storage.key}")
        if record_of is None or record_of.file_size != storage.size:
            held = "nothing" if record_of is None else f"{record_of.file_size:,} bytes"
            raise damaged(f"it promises {storage.size:,} bytes of weights where it holds {held}")
    return found


def _directory(file: IO[bytes], size: int) -> dict[str, zipfile.ZipInfo]:
    """The records of an archive by name, none of them packed, encrypted or lying on another."""
    file.seek(max(0, size - _END.size))
    end = file.read(_END.size)
    if len(end) < _END.size or end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise damaged("the end of the archive is missing")
    if _END.unpack(end)[4] > _MOST_RECORDS:
        raise NotOpened(f"The archive holds more than {_MOST_RECORDS:,} records.")
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, struct.error):
        raise damaged("the directory of the archive cannot be read") from None
    if len(infos) > _MOST_RECORDS:
        raise NotOpened(f"The archive holds more than {_MOST_RECORDS:,} records.")
    if any(info.flag_bits & 1 for info in infos):
        raise NotOpened("The archive is encrypted.", advice="Bring it without a password.")
    _folder([info.filename for info in infos])  # what else it is says more than how it is packed
    packed = sum(info.file_size for info in infos if info.compress_type != zipfile.ZIP_STORED)
    if packed:
        raise NotOpened(
            f"The archive is compressed and would unpack to {megabytes(packed)}; checkpoints of "
            "PyTorch are not.",
            advice="Unpack it, and bring the checkpoint that is inside, or save it again with "
            "torch.save.",
        )
    if sum(info.file_size for info in infos) > size:
        raise damaged("its records are larger than the file")
    if len({info.filename.casefold() for info in infos}) < len(infos):
        raise damaged("two of its records have one name")
    return {info.filename: info for info in infos}


def _folder(names: list[str]) -> str:
    """The folder of the archive in which torch.save has put all, with a slash."""
    folder = names[0].partition("/")[0] + "/" if names else ""
    inside = {name.removeprefix(folder) for name in names}
    if not folder or f"{folder}{_PICKLE}" not in names:
        raise _other_archive(names)
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        raise NotOpened(
            "The file is a TorchScript program, which is code with weights.", advice=_PROGRAM
        )
    if not all(name.startswith(folder) for name in names):
        raise damaged("the archive holds files of something else")
    return folder


def _other_archive(names: list[str]) -> NotOpened:
    ends = tuple(name.casefold() for name in names)
    if any(name.endswith("model.weights.h5") for name in ends):
        return NotOpened(
            "This is a Keras model.",
            advice="Copy its weights into the PyTorch model of the same architecture.",
        )
    if ends and all(name.endswith(".npy") for name in ends):
        return NotOpened(
            "This is an archive of NumPy arrays.",
            advice="Save the weights as tensors: `torch.save({...}, 'weights.pt')`.",
        )
    if any("code/" in name or "constants.pkl" in name for name in ends):
        return NotOpened("The file is a TorchScript program.", advice=_PROGRAM)
    if any("archive_format" in name for name in ends):
        return NotOpened("The file is an exported program of PyTorch, not weights.")
    return NotOpened(
        "This is a ZIP archive, but none of PyTorch.",
        advice="If the checkpoint is inside, unpack it and bring that file.",
    )


def found_in_stream(file: IO[bytes], size: int, limits: Limits) -> Found:
    """What a file of the old form promises: five pickles, then each storage behind its length.
    Raises NotOpened.
    """
    file.seek(0)
    head = io.BytesIO(file.read(limits.structure_bytes))
    for _ in range(3):  # the magic number, the version, the sizes of C types
        scan(head)
    found = scan(head)
    keys = scan(head).root
    if not isinstance(keys, list) or set(map(str, keys)) != set(found.storages):
        raise damaged("it lists other values than it uses")
    position = head.tell()
    for key in keys:
        storage = found.storages[key]
        file.seek(position)
        length = file.read(8)
        if len(length) < 8 or struct.unpack("<q", length)[0] != storage.held:
            raise damaged("the values are not where they should be")
        position += 8 + storage.size
        if position > size:
            raise damaged("it ends before the weights do")
    return found


def _large_structure(size: int, limits: Limits) -> NotOpened:
    return NotOpened(
        f"What describes the weights takes {megabytes(size)}; "
        f"{megabytes(limits.structure_bytes)} are the limit."
    )


def load(file: IO[bytes]) -> Any:
    """What torch makes of a file that has passed `found_in_zip` or `found_in_stream`."""
    import torch

    unused: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = []
    unused += [(Unused, name) for name in UNUSED]
    file.seek(0)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(unused):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  torch raises what its C++ says
        if "memory" in str(error) and "alloc" in str(error):
            raise MemoryError from None
        why = plain(str(error).partition("\n")[0].strip(" .")) or type(error).__name__
        raise damaged(f"PyTorch cannot read it ({why})") from None
