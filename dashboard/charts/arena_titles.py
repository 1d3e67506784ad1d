"""What the methods of the arena are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Methods = Mapping[str, Mapping[str, Any]]  # name -> {name, options, title}: `about` of arena.json


def arena_title(name: str, methods: Methods) -> str:
    """`NGF, all layers, radius 0.03`; the bare name of a method that is not in the table."""
    return str(methods[name]["title"]) if name in methods else name
