"""The frame around every page: the bar with the pages. Streamlit executes this file for each
visitor.

It stands among the pages, not above them: beside a folder named `pages` Streamlit serves that
folder by itself, without this frame, to a first visitor who comes by a deep link.
"""

from __future__ import annotations

import streamlit as st

# Less empty space than Streamlit leaves. No primary color has enough contrast both under white text
# (buttons) and as text on a dark page (a chosen segment, the value of a slider), so the latter gets
# its own.
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 4.75rem; padding-bottom: 3rem; }
[data-variant="segmented_control"][data-selected="true"] p,
[data-variant="pills"][data-selected="true"] p,
[data-testid="stSliderThumbValue"] p {
  color: light-dark(#00639C, #ECF1F5); font-weight: 600; }
</style><span></span>"""  # the span keeps it in the page: what is style only is lost at some reruns

st.set_page_config(page_title="Backdoor removal, live", page_icon="🚪", layout="wide")
page = st.navigation(
    [
        st.Page("start.py", title="Start", icon=":material/home:", default=True),
        st.Page("lab.py", title="Lab", icon=":material/science:", url_path="lab"),
        st.Page("attacks.py", title="Attacks", icon=":material/collections:", url_path="attacks"),
        st.Page("studio.py", title="Trigger studio", icon=":material/brush:", url_path="studio"),
        st.Page("geometry.py", title="Geometry", icon=":material/landscape:", url_path="geometry"),
        st.Page("runs.py", title="Runs", icon=":material/list:", url_path="runs"),
    ],
    position="top",
)
st.html(STYLE)
page.run()
