"""Files that should hold a picture and cannot be read. They are noted while a page is drawn, and
told where the picture would stand, or at the end of the page; all else is drawn.
"""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path

import streamlit as st

from ngf.places import ROOT

PUT_BACK = "Put the file back as it came with the program; what was measured can be measured anew."
_noted: ContextVar[dict[str, str] | None] = ContextVar("damaged files", default=None)


def begin() -> None:
    """A page is drawn from here on: nothing is noted yet."""
    _noted.set({})


def note(path: Path, why: str, advice: str = PUT_BACK) -> None:
    """This file, or one in this folder, cannot be read. `why` is a sentence, as is what to do."""
    if (noted := _noted.get()) is not None:
        place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        noted.setdefault(str(place), f"`{place}` is damaged ({why.rstrip('.')}). {advice}")


def tell() -> None:
    """Say what was noted since the last time, each only once on a page."""
    for words in filter(None, (_noted.get() or {}).values()):
        st.warning(f"A picture is missing here: {words}", icon=":material/broken_image:")
    if noted := _noted.get():
        noted.update(dict.fromkeys(noted, ""))
