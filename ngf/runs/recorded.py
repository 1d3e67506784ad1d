"""Which purifications ship, so that pages have something to show at once. Imports no torch."""

from __future__ import annotations

from ngf.config import Choice, PurifySpec, TrainSpec

LANES = (Choice("ngf"), Choice("sgd"))  # with the Lab's defaults


def recorded(attack: str) -> PurifySpec:
    """Of the model on signs with this attack, seed 0."""
    return PurifySpec(parent=TrainSpec(attack=Choice(attack)).id, lanes=LANES)


RACE = recorded("badnets")  # of the first page
