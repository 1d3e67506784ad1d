"""The frame around every page: the navigation bar, and what runs meanwhile. Streamlit executes
this file for each visitor.

No folder beside this file may be called `pages`: Streamlit would serve it by itself, without this
frame, to a first visitor who follows a link to a page.
"""

from __future__ import annotations

import streamlit as st

from dashboard.components.copy_link import copy_link
from dashboard.kit import damage, running
from dashboard.kit.pages import pages, script

# Less empty space than Streamlit leaves. No primary color has enough contrast both under white text
# (buttons) and as text on a dark page (a chosen segment, the value of a slider), so the latter gets
# its own. A table's own download would not go through `as_csv`; the pages have one that does.
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 4.25rem; padding-bottom: 3rem; }
[data-variant="segmented_control"][data-selected="true"] p,
[data-variant="pills"][data-selected="true"] p,
[data-testid="stSliderThumbValue"] p {
  color: light-dark(#00639C, #ECF1F5); font-weight: 600; }
[data-testid="stElementToolbarButton"]:has(> * > button[aria-label^="Download as CSV"]) {
  display: none; }
[data-testid="stTopNavLink"]:focus-visible {
  outline: 2px solid light-dark(#00639C, #7FC1EC); outline-offset: 2px; }
.streamlit-embedded :is([data-testid="stHeader"],
  [data-testid="stLayoutWrapper"]:has(> .st-key-running_bar)) { display: none; }
.streamlit-embedded [data-testid="stMainBlockContainer"] { padding-top: 1rem; }
:is(.st-key-lab_head, .st-key-geometry_head, .st-key-sweeps_head) h1 { padding: 0; }
.st-key-running_bar:not(:has(*)) { display: none; }
.st-key-running_bar { position: sticky; top: 3.75rem; z-index: 90; padding: 0.35rem 0.9rem;
  border-radius: 8px; border: 1px solid light-dark(#C9D3DB, #3A4855);
  background: light-dark(#F1F5F8, #171E25); }
@media (max-width: 640px) { /* a phone: what was measured is on the first screen */
  [data-testid="stMainBlockContainer"] { padding-top: 3.75rem; }
  [data-testid="stMainBlockContainer"] h1 { font-size: 1.75rem; padding: 0.4rem 0; }
  [data-testid="stMainBlockContainer"] h2 { font-size: 1.35rem; padding: 0.4rem 0; }
  .st-key-geometry_verdict p { font-size: 0.9rem; line-height: 1.4; }
  .st-key-sweeps_look [data-testid="stColumn"] { min-width: calc(50% - 0.5rem); flex: 1 1 45%; } }
</style><span></span>"""  # without the span, some reruns drop the element

st.set_page_config(page_icon="🚪", layout="wide")
first = next(iter(pages()))
page = st.navigation(
    [
        st.Page(
            script(name),
            title=about.title,
            icon=about.icon,
            default=name == first,
            url_path=None if name == first else name,
        )
        for name, about in pages().items()
    ],
    position="top",
)
st.set_page_config(page_title=f"{page.title} · Backdoor removal, live")  # a page may say more
st.html(STYLE)
copy_link()
bar = st.container(key=running.BAR)
running.new_page()
damage.begin()
try:
    page.run()
finally:  # also of a page that ends early; by now it has said what it shows itself
    damage.tell()
    with bar:
        running.show_bar()
