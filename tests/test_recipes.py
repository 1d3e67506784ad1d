"""The recipes of docs/recipes, done as they stand there in a copy of the source tree."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from ngf.places import ROOT
from tests.helpers.house import House

RECIPES = sorted((ROOT / "docs" / "recipes").glob("*.md"))


class Block(NamedTuple):
    """A fenced block. language: its first word; title: the file that it is."""

    language: str
    title: str
    text: str


def blocks(path: Path) -> list[Block]:
    found = re.findall(
        r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S
    )
    return [Block(*parts) for parts in found]


def follow(house: House, steps: list[Block]) -> None:
    """Write what is a file, put in the added lines, run what is a command."""
    for step in steps:
        if step.language == "diff":
            lines = step.text.splitlines()
            added = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
            (before,) = [line[1:] for line in lines if line.startswith(" ")]
            house.insert(step.title, before, added)
        elif step.title:
            house.write(step.title, step.text)
        elif step.language == "sh":
            for command in step.text.replace("\\\n", " ").splitlines():
                house.run(command)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_does_what_it_says(path, tmp_path):
    steps = blocks(path)
    assert any(step.title for step in steps) and any(step.language == "sh" for step in steps)
    follow(House(tmp_path / "house"), steps)


def test_there_is_a_recipe_for_everything_that_can_be_added():
    assert [path.stem for path in RECIPES] == [
        "attack",
        "data-set",
        "defense",
        "measurement",
        "model",
        "page",
    ]
