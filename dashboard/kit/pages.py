"""The pages: each is a folder with a `page.py`, and its `__init__.py` describes it as `PAGE`.

The folder of a page holds everything that only this page uses, so adding a page means adding a
folder. `PAGE` is read without running the page: by the navigation bar, by the links on the first
page, and by whatever reads or writes its address.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_DASHBOARD = Path(__file__).resolve().parent.parent
SEED_MAX = 2**31 - 1
_LONGEST = 300  # characters in one value, unless a parameter says otherwise


@dataclass(frozen=True)
class Param:
    """One parameter of an address.

    default: its value when the address does not name it; its type is the type of the parameter.
    ge: the smallest number that is allowed.
    le: the largest number that is allowed.
    choices: the texts that are allowed; a page may give others that depend on the store.
    pattern: the regular expression that a text must match.
    many: whether it may occur more than once.
    longest: the largest number of characters in one value.
    """

    default: Any = ""
    ge: int = 0
    le: int = SEED_MAX
    choices: tuple[str, ...] | None = None
    pattern: str = r"[\w.\- ]+"
    many: bool = False
    longest: int = _LONGEST


SEED = Param(0)
RUN = Param(pattern=r"[a-z0-9\-]+")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page says about itself.

    title: its name in the navigation bar.
    icon: the icon beside the title.
    order: its place in the bar; the first page is the one at the bare address of the server.
    about: one sentence for its link on the first page; empty for no link.
    parameters: what its address may contain.
    """

    title: str
    icon: str
    order: int
    about: str = ""
    parameters: Mapping[str, Param] = field(default_factory=dict)


@functools.cache
def pages() -> dict[str, Page]:
    """All pages by the name of their folder, in the order of the navigation bar."""
    folders = sorted(path.parent.name for path in _DASHBOARD.glob("*/page.py"))
    found = {name: importlib.import_module(f"dashboard.{name}").PAGE for name in folders}
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def script(name: str) -> Path:
    """The file of a page, for `st.page_link` and `st.switch_page`."""
    return _DASHBOARD / name / "page.py"
