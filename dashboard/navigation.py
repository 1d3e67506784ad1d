"""The frame around every page: the bar with the pages. Streamlit executes this file for each visitor."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="Backdoor removal, live", page_icon=":material/door_open:", layout="wide")
page = st.navigation([
    st.Page("pages/start.py", title="Start", icon=":material/home:", default=True),
    st.Page("pages/lab.py", title="Lab", icon=":material/science:", url_path="lab"),
    st.Page("pages/geometry.py", title="Geometry", icon=":material/landscape:", url_path="geometry"),
    st.Page("pages/runs.py", title="Runs", icon=":material/list:", url_path="runs"),
], position="top")
page.run()
