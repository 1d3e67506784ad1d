"""What the methods of the arena are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.charts.titles import short

_LAYERS = {"all": "all layers", "last": "last layer"}
Methods = Mapping[str, Mapping[str, Any]]  # name -> {name, options, steps}: `about` of arena.json


def arena_title(name: str, methods: Methods) -> str:
    """`NGF, all layers, radius 0.03`: the defense, and what differs from its defaults."""
    lane = methods.get(name)
    if lane is None:
        return name
    said = [short("defenses", str(lane["name"]))]
    for option, value in lane["options"].items():
        if option == "layer":
            said.append(_LAYERS.get(value, f"layer {value}"))
        elif option == "trust_region":
            said.append(f"radius {value:g}")
        else:
            said.append(f"{option} {value}")
    return ", ".join(said)
