"""A button that copies the address of the page, with all choices made on it. In the browser alone;
a page that is embedded has none. Its script lets Back lead to the page before.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_MARKUP = '<button type="button" class="ngf-copy" aria-live="polite">Copy link</button>'

# Registered once per process, see `dashboard.components.live_chart`.
_mount = st.components.v2.component(
    "ngf_copy_link",
    html=_MARKUP,
    css=(_HERE / "copy_link.css").read_text(encoding="utf-8"),
    js=(_HERE / "copy_link.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def copy_link() -> None:
    """Put the button into the upper right corner of the page."""
    with st.container(key="copy-link"):
        _mount(key="copy.button", width="content")
