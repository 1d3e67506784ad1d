"""The pages that there are: each is a folder with a `page.py`, and says in its `__init__.py` what
it is.

A page's folder holds all that is its own; adding a page is adding a folder. `PAGE` is read without
running the page, by the bar of the frame, by the doors of the first page and by the address.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WINDOW = Path(__file__).resolve().parent.parent
SEED_MAX = 2**31 - 1
_LONGEST = 300  # characters of one value, as a rule; a longer one is not a choice of ours


@dataclass(frozen=True)
class Param:
    """One parameter of an address.

    default: its type is the type of the parameter.
    ge, le: bounds of a number, inclusive.
    choices: what a text may be; a page may complete them by what is in the store.
    pattern: what a text looks like.
    many: whether it may stand there more than once.
    longest: characters of one value.
    """

    default: Any = ""
    ge: int | None = None
    le: int | None = None
    choices: tuple[str, ...] | None = None
    pattern: str = r"[\w.\- ]+"
    many: bool = False
    longest: int = _LONGEST


SEED = Param(0, ge=0, le=SEED_MAX)
RUN = Param(pattern=r"[a-z0-9\-]+")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page says of itself.

    title, icon: in the bar.
    order: its place in the bar; the first one is where the address of the server leads.
    about: one sentence for the door to it on the first page; empty for none.
    parameters: what its address may say.
    """

    title: str
    icon: str
    order: int
    about: str = ""
    parameters: Mapping[str, Param] = field(default_factory=dict)


@functools.cache
def pages() -> dict[str, Page]:
    """All pages by the name of their folder, in the order of the bar."""
    folders = sorted(path.parent.name for path in _WINDOW.glob("*/page.py"))
    found = {name: importlib.import_module(f"dashboard.{name}").PAGE for name in folders}
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def script(name: str) -> Path:
    """The file of a page, as `st.page_link` and `st.switch_page` take it."""
    return _WINDOW / name / "page.py"
