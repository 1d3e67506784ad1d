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
    # of defenses that unlearn: phases of a step or two each
    "rounds": 2,
    "mask_steps": 1,
    "search_steps": 1,
    "unlearn_steps": 1,
    "search_batch": 4,
}
MORE = {  # what a quick purification has besides: not every choice is quick, nor every step long
    "ngf": {"layer": "fisher"},
    # masks get to where they are pruned in three steps
    "anp": {"lr": 1000.0},
    "rnp": {"lr": 1000.0, "unlearn_steps": 2},
    "neural_cleanse": {"threshold": 0.0},  # something is flagged
}


def short_options(name: str, **options: Any) -> dict[str, Any]:
    """Options of a quick purification by `name`: `options`, SHORT and MORE, of those it has."""
    known = {item.name for item in fields(load("defenses", name))}
    wanted = {**SHORT, **MORE.get(name, {}), **options}
    return {key: value for key, value in wanted.items() if key in known}


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
