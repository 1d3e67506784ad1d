"""The texts of the lessons: Markdown files in assets/lessons that a teacher can edit or translate.

A file is a title (`# ...`), a text, and three parts: `## Predict` with a question and its answers
as a list (`- [x]` for the right one, `- [ ]` for the others), `## Reveal` and `## Try`. The
headings of the parts may be translated; their order counts. Numbers in braces, such as {asr}, are
filled in from what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ngf import places

_ANSWER = re.compile(r"^- \[([ xX])\] +(.+)$", re.MULTILINE)
_PARTS = 3  # Predict, Reveal, Try
_GAP = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One step. right: the place of the right answer among `answers`."""

    title: str
    text: str
    question: str
    answers: tuple[str, ...]
    right: int
    reveal: str
    exercise: str


def files() -> list[Path]:
    """Those of the lessons, in their order."""
    return sorted((places.ASSETS / "lessons").glob("*.md"))


def parse(text: str, name: str) -> Lesson:
    """The lesson in a text; `name` is told where something is missing. Raises ValueError."""
    head, *parts = re.split(r"^## .*$", text, flags=re.MULTILINE)
    title = re.match(r"\s*# +(.+)\n", head)
    if title is None:
        raise ValueError(f"{name} does not begin with a title: a line such as `# A hidden door`.")
    if len(parts) != _PARTS:
        raise ValueError(
            f"{name} has {len(parts)} parts that begin with `## `; it needs {_PARTS}: a question, "
            "the answer to it, and something to try."
        )
    asked, reveal, exercise = parts
    answers = _ANSWER.findall(asked)
    right = [place for place, (mark, _) in enumerate(answers) if mark != " "]
    if len(answers) < 2 or len(right) != 1:
        raise ValueError(
            f"{name} needs two or more answers, lines such as `- [ ] Stop`, and one of them marked "
            f"as right by `- [x]`; it has {len(answers)}, of which {len(right)} are right."
        )
    return Lesson(
        title=title.group(1).strip(),
        text=head[title.end() :].strip(),
        question=_ANSWER.sub("", asked).strip(),
        answers=tuple(words.strip() for _, words in answers),
        right=right[0],
        reveal=reveal.strip(),
        exercise=exercise.strip(),
    )


def filled(text: str, numbers: Mapping[str, str]) -> str:
    """The text with its numbers; a dash for one that nobody has measured."""
    return _GAP.sub(lambda gap: numbers.get(gap.group(1), "–"), text)
