"""What options alone say against an attack on images of a size, before anything starts. No torch:
the door for runs asks here, in the web server, too.

The attack's own `check` says the same, and whatever else it takes torch to know, when its run
starts; so an attack that is not in the table is only refused later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ngf.attacks.shared.fit import (
    ROOM,
    check_frequency,
    check_inside,
    check_opacity,
    corner,
    place_of_drawing,
)
from ngf.catalogue import options_of
from ngf.config import Choice
from ngf.options import SpecError

_Options = Mapping[str, Any]
_Size = tuple[int, int]  # height and width of an image


def check_early(attack: Choice, facts: Mapping[str, Any]) -> None:
    """Raise SpecError for an attack of which its options say that it cannot work on the data.

    facts: of the data set; what it does not know yet, `classes` (or `num_classes`) or `shape`, is
        not asked about.
    """
    options = options_of("attacks", attack)
    count = len(facts.get("classes") or ()) or facts.get("num_classes", 0)
    for name in ("target", "source", "partner"):
        if count and options.get(name, 0) >= count:
            raise SpecError(
                f"{name.capitalize()} class {options[name]} does not exist. Allowed: 0 to "
                f"{count - 1}."
            )
    if facts.get("shape") and attack.name in _CHECKS:
        _channels, height, width = facts["shape"]
        _CHECKS[attack.name](options, (height, width))


def _badnets(options: _Options, image: _Size) -> None:
    if options["preset"] == "free":  # the other patches touch the border, 3 pixels high
        _in_corner(options["size"], options["position"], options["margin"], image)


def _in_corner(size: int, position: str, margin: int, image: _Size) -> None:
    check_inside("A trigger", (size, size), corner(position, size, margin, *image), image, ROOM)


def _one_pixel_off(options: _Options, image: _Size) -> None:
    _in_corner(options["size"], "bottom right", 1, image)


def _drawn(options: _Options, image: _Size) -> None:
    place_of_drawing(options["drawing"], options["row"], options["column"], options["scale"], image)
    check_opacity(options["drawing"], options["alpha"])


def _sig(options: _Options, image: _Size) -> None:
    check_frequency(options["frequency"], image[1])


_CHECKS: dict[str, Callable[[_Options, _Size], None]] = {
    "badnets": _badnets,
    "drawn": _drawn,
    "sig": _sig,
    "tact": _one_pixel_off,
    "trojan": _one_pixel_off,
}
