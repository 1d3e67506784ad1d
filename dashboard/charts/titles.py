"""What plug-ins, models and lanes are called, on charts and pages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ngf.catalogue import catalogue

UNKNOWN = "Unknown"
_IMPORTED = "mine"  # the data set of imported models, see `ngf.data.mine`
_LANES = {"ngf": "NGF", "sgd": "SGD", "adam": "Adam"}  # shorter than their titles


def title(kind: str, name: str) -> str:
    """Readable name of a plug-in or model: `title("attacks", "badnets")` is `BadNets (patch)`."""
    known = catalogue()[kind]
    return str(known[name]["title"]) if name in known else _words(name)


def attack_title(data: str, attack: str) -> str:
    """Readable name of the attack of a model on these data; of an imported one nobody knows it."""
    return UNKNOWN if data == _IMPORTED else title("attacks", attack)


def short(kind: str, name: str) -> str:
    """The title without its parenthesis, where it is still the only one: `NGF (natural
    gradient)` is `NGF`.
    """
    known = catalogue()[kind]
    if name not in known:
        return title(kind, name)
    found = str(known[name]["short"])
    alike = sum(about["short"] == found for about in known.values())
    return found if alike == 1 else title(kind, name)


def lane_title(lane: str) -> str:
    """Readable name of a lane: `sgd-2` is `SGD (2)`; a plug-in that is not installed, such as
    `old_idea`, is `Old idea`.
    """
    name, _, number = lane.rpartition("-")
    if name and number.isdigit():
        return f"{lane_title(name)} ({number})"
    if lane in _LANES:
        return _LANES[lane]
    if lane in catalogue()["defenses"]:
        return short("defenses", lane)
    words = _words(lane)
    return words.upper() if len(words) <= 6 else words.capitalize()


def _words(name: str) -> str:
    """The name of a plug-in that is not installed, in words. It comes from the folder of a run,
    where anybody may have written anything: what no plug-in can be called becomes a question mark.
    """
    return re.sub(r"[^\w -]", "?", name.replace("_", " "))[:60]


def told_apart(models: Sequence[str], images: Sequence[str]) -> Sequence[str]:
    """What to write over several pictures: their models, or their images where a model is shown
    twice.
    """
    return models if len(set(models)) == len(models) else images
