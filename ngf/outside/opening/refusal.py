"""Why a checkpoint is not opened, how much of one is, and names of strangers in our sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ngf.options import Explained
from ngf.outside.listing import shown

MARKUP = frozenset("<>&`[]$*|~^\"'\\!#")  # what Markdown, HTML or a formula is made of
_LINKS = frozenset(":/@")
_SHOWN, _NAMES = 80, 5  # characters of a name, and names of a list


class NotOpened(Explained, ValueError):
    """A file that gives no weights; the message is one sentence, the advice is the way out."""

    kind = "bad_checkpoint"
    advice = "Save the weights alone: `torch.save(model.state_dict(), 'weights.pt')`."


class Ask(Explained, ValueError):
    """A file with several sets of weights; the caller says with `pick` which of `options`."""

    kind = "several_checkpoints"
    advice = "Choose one of them."

    def __init__(self, options: tuple[str, ...]) -> None:
        super().__init__(f"The file holds several sets of weights: {some(options)}.")
        self.options = options


@dataclass(frozen=True)
class Limits:
    """How much a stranger's file may be and cost.

    file_bytes: of the file; more is refused without reading it.
    tensor_bytes: of all weights as float32.
    tensors: how many there are.
    structure_bytes: of the pickle or the header that says what lies where.
    memory_bytes: what the child may take beyond what it has once torch is imported.
    cpu_seconds, wall_seconds: of the child, with the import of torch.
    """

    file_bytes: int = 2 * 10**9
    tensor_bytes: int = 4 * 10**9
    tensors: int = 20_000
    structure_bytes: int = 32 * 2**20
    memory_bytes: int = 5 * 10**9
    cpu_seconds: int = 120
    wall_seconds: float = 300.0


def plain(name: object) -> str:
    """A stranger's name as it may stand in a sentence: printable, without markup, not too long."""
    text = str(name)
    short = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return "".join(f"\\x{ord(c):02x}" if c in MARKUP | _LINKS else shown(c) for c in short)


def some(names: Iterable[object]) -> str:
    """`a, b, c and 2 more`, each of them `plain`."""
    words = [plain(name) for name in names]
    more = f" and {len(words) - _NAMES:,} more" if len(words) > _NAMES else ""
    return ", ".join(words[:_NAMES]) + more


def damaged(why: str) -> NotOpened:
    """The refusal of a file that contradicts itself or ends too early."""
    return NotOpened(
        f"The file is damaged: {why}.", advice="Copy or download it again; it may be cut short."
    )


def megabytes(size: int) -> str:
    """A size in bytes as `12.3 MB`."""
    return f"{size / 1e6:,.1f} MB"
