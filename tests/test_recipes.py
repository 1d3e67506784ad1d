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


def put_in(house: House, steps: list[Block]) -> None:
    """Write what is a file, and put in the added lines."""
    for step in steps:
        if step.language == "diff":
            lines = step.text.splitlines()
            added = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
            (before,) = [line[1:] for line in lines if line.startswith(" ")]
            house.insert(step.title, before, added)
        elif step.title:
            house.write(step.title, step.text)


def commands(steps: list[Block]) -> list[str]:
    return [
        command
        for step in steps
        if step.language == "sh"
        for command in step.text.replace("\\\n", " ").splitlines()
    ]


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> House:
    """All recipes in one copy, so that the list of plug-ins is made once, and none is in the way
    of another.
    """
    made = House(tmp_path_factory.mktemp("recipes") / "house")
    for path in RECIPES:
        put_in(made, blocks(path))
    return made


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_does_what_it_says(path, house):
    steps = blocks(path)
    assert any(step.title for step in steps) and commands(steps)
    for command in commands(steps):
        house.run(command)


def test_there_is_a_recipe_for_everything_that_can_be_added():
    assert [path.stem for path in RECIPES] == [
        "attack",
        "data-set",
        "defense",
        "measurement",
        "model",
        "page",
    ]
