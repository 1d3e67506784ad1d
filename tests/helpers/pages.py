"""Pages in Streamlit's own test driver: the frame around one, and what is read off it."""

from __future__ import annotations

import re
from typing import Any

from streamlit.testing.v1 import AppTest

# A visit that begins on one of the pages, as a browser gets it at /name.
NAVIGATION = """
import streamlit as st
from dashboard.kit.pages import pages, script
st.navigation([st.Page(script(name), title=about.title, url_path=name, default=name == {first!r})
               for name, about in pages().items()]).run()
"""


def checked(page: AppTest) -> AppTest:
    assert not page.exception, [(error.message, error.stack_trace[-3:]) for error in page.exception]
    return page


def text(page: AppTest) -> str:
    """The texts of a page as a reader sees them, but for the rest of their Markdown."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error")
    return "\n".join(read(str(item.value)) for kind in kinds for item in getattr(page, kind))


def read(text: str) -> str:
    """What a reader sees of an escaped text."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace("\u2060", "")


def button(page: AppTest, key: str) -> Any:
    found = [item for item in page.button if item.key == key]
    assert found, f"no button {key!r} among {[item.key for item in page.button]}"
    return found[0]
