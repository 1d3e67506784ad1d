"""Short purifications for tests."""

from collections.abc import Callable, Generator
from dataclasses import fields
from typing import Any

from ngf.catalogue import build, load
from ngf.config import Choice
from ngf.defenses.contract import Defense, Event, Purification

SHORT = {
    "steps": 3,
    "batch_size": 24,
    # of defenses that unlearn: phases of a step or two each, and a threshold that flags something
    "rounds": 2,
    "mask_steps": 1,
    "search_steps": 1,
    "unlearn_steps": 1,
    "search_batch": 4,
    "threshold": 0.0,
}


def short_options(name: str, **options: Any) -> dict[str, Any]:
    """Options of a quick purification by `name`: `options`, and those of SHORT that it has."""
    known = {item.name for item in fields(load("defenses", name))}
    wanted = {"layer": "fisher", **SHORT} if name == "ngf" else SHORT
    return {key: value for key, value in {**wanted, **options}.items() if key in known}


def short(name: str, **options: Any) -> Defense:
    return build("defenses", Choice(name, short_options(name, **options)))


def finish(purification: Purification) -> list[Event]:
    return list(purification)


def asked(
    generator: Generator[Any, Any, Any], answer: Callable[[Any], Any] = lambda told: None
) -> Any:
    """What a generator returns in the end; `answer` to each value that it gives is sent back."""
    told = next(generator)
    while True:
        try:
            told = generator.send(answer(told))
        except StopIteration as end:
            return end.value
