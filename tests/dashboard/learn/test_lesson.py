"""The texts of the lessons, and what is told of a damaged one."""

from __future__ import annotations

import pytest

from dashboard.learn import STEPS
from dashboard.learn.lesson import files, filled, parse

TEXT = """# A title

Some text.

## Vorhersage

What happens?

- [ ] This
- [x] That

## Antwort

That, in {share}.

## Versuch

Try it.
"""


def test_a_lesson_by_its_parts():
    lesson = parse(TEXT, "1.md")
    assert (lesson.title, lesson.text, lesson.question) == (
        "A title",
        "Some text.",
        "What happens?",
    )
    assert lesson.answers == ("This", "That") and lesson.right == 1
    assert filled(lesson.reveal, {"share": "99 %"}) == "That, in 99 %."
    assert filled(lesson.reveal, {}) == "That, in –."
    assert lesson.exercise == "Try it."


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# A title", "A title", "does not begin with a title"),
        ("## Versuch", "Versuch", "has 2 parts"),
        ("- [x] That", "- [ ] That", "of which 0 are right"),
        ("- [ ] This", "- [x] This", "of which 2 are right"),
        ("- [ ] This\n", "", "it has 1"),
    ],
)
def test_what_is_missing_is_told(old, new, said):
    with pytest.raises(ValueError, match=said):
        parse(TEXT.replace(old, new, 1), "1.md")


def test_the_lessons_that_ship():
    found = files()
    assert len(found) == STEPS
    for path in found:
        lesson = parse(path.read_text(encoding="utf-8"), path.name)
        assert len(lesson.answers) == 3 and lesson.text and lesson.reveal and lesson.exercise
