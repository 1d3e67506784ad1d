"""What a file is by its first bytes, never by its name; and the way out where it is no checkpoint.

Sources: the magic numbers of the formats' specifications; protobuf's wire format for ONNX and
SavedModel, which have none.
"""

from __future__ import annotations

import re

from ngf.outside.opening.refusal import NotOpened
from ngf.outside.pictures import kind_of

START = 4096  # bytes that are enough for `kind`
ZIP, LEGACY, SAFETENSORS = "zip", "legacy", "safetensors"
# The number with which torch.save began before it wrote zip archives (torch.serialization).
_MAGIC = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)

_FROM_TORCH = "In PyTorch, save the weights alone: `torch.save(model.state_dict(), 'weights.pt')`."
_PACKED = "Unpack it and bring the checkpoint that is inside."
_BRING = "Bring a checkpoint of PyTorch or a safetensors file."
_AGAIN = "Download it again; the link may need a login."
_TENSORFLOW = (
    "Only weights of PyTorch are read: load it where it was made, and copy the weights into the "
    "PyTorch model of the same architecture."
)
# In order: the first that fits.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, such as a Keras model", _TENSORFLOW),
    (rb"....TFL3", "a TensorFlow Lite model", _TENSORFLOW),
    (rb"\x93NUMPY", "an array of NumPy", _FROM_TORCH),
    (rb"GGUF", "a GGUF language model", _BRING),
    (rb"\x1f\x8b", "a gzip archive", _PACKED),
    (rb"BZh", "a bzip2 archive", _PACKED),
    (rb"\xfd7zXZ\x00", "an xz archive", _PACKED),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _PACKED),
    (rb"Rar!", "a RAR archive", _PACKED),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard archive", _PACKED),
    (rb".{257}ustar", "a tar archive", _PACKED),
    (
        rb"version https://git-lfs",
        "a pointer of Git LFS, not the file itself",
        "Run `git lfs pull`.",
    ),
    (rb"\s*<(?:!doctype|html)", "a web page, not the file behind the link", _AGAIN),
)
_KINDS = tuple((re.compile(begin, re.DOTALL | re.I), what, way) for begin, what, way in _OTHERS)
_PROTOBUF = re.compile(rb"\x08[\x00-\x7f][\x12\x1a\x22\x2a\x32\x3a\x42]", re.DOTALL)


def kind(start: bytes) -> str:
    """ZIP, LEGACY or SAFETENSORS. Raises NotOpened for what is none of them.

    start: the first `START` bytes of the file, or all of a smaller one.
    """
    if not start:
        raise NotOpened("The file is empty.", advice="Copy or download it again.")
    if start.startswith(b"PK\x03\x04"):
        return ZIP
    if _MAGIC.match(start):
        return LEGACY
    for begins, what, way in _KINDS:
        if begins.match(start):
            raise NotOpened(f"This is {what}.", advice=way)
    if start[8:9] == b"{":  # before it, the length of the header
        return SAFETENSORS
    raise _neither(start)


def _neither(start: bytes) -> NotOpened:
    if re.match(rb"\x80[\x02-\x05]", start):
        return NotOpened(
            "This is a Python pickle, such as one of NumPy or scikit-learn, not a checkpoint of "
            "PyTorch; opening it could run any code.",
            advice=_FROM_TORCH,
        )
    if _PROTOBUF.match(start):
        if b"serve" in start or b"tensorflow" in start.lower():
            return NotOpened("This is a SavedModel of TensorFlow.", advice=_TENSORFLOW)
        return NotOpened(
            "This is an ONNX model.",
            advice=f"It was exported from a model that has weights of its own. {_FROM_TORCH}",
        )
    if found := kind_of(start):
        what = found if found.startswith(("a ", "an ")) else f"a {found} file"
        return NotOpened(f"This is {what}, not a checkpoint.", advice=_BRING)
    return NotOpened("This is no checkpoint: its first bytes are those of none.", advice=_BRING)
