"""Short purifications for tests."""

from ngf.catalogue import build, load
from ngf.config import Choice
from ngf.defenses.contract import Purification

SHORT = {"steps": 3, "batch_size": 24}


def short(name: str, **options) -> object:
    known = load("defenses", name).__dataclass_fields__
    wanted = {"layer": "fisher", **SHORT, **options} if name == "ngf" else {**SHORT, **options}
    return build(
        "defenses", Choice(name, {key: value for key, value in wanted.items() if key in known})
    )


def finish(purification: Purification) -> list:
    return list(purification)
