"""What a reader takes home of a run: links to its products, behind one button."""

from __future__ import annotations

import html

import streamlit as st

from dashboard.charts.titles import lane_title
from ngf.export.bundle import is_backdoored
from ngf.export.products import PRODUCTS, available
from ngf.runs.store import Run

_STYLE = """<style>
.ngf-take { display: grid; gap: 0.5rem; line-height: 1.35; }
.ngf-take a { font-weight: 600; color: var(--st-link-color); }
.ngf-take span { display: block; font-size: 0.875rem; }
</style>"""


def take_home(run: Run) -> None:
    """A button, and below it a link for each product that there is now."""
    with st.popover("Take it home", icon=":material/download:"):
        if run.status != "done":
            st.caption(
                "This run has not ended well. What you take is what there is now, and is marked as "
                "partial."
            )
        if is_backdoored(run):
            st.caption("The weights hold a backdoor, on purpose: say so when you pass them on.")
        st.html(links(run))


def links(run: Run) -> str:
    """The products as a list, with addresses relative to the page, which a proxy may have moved."""
    items = []
    for name, lane in available(run):
        one = PRODUCTS[name]
        address = f"api/runs/{run.id}/take/{name}" + (f"?lane={lane}" if lane else "")
        title = f"{one.title} of {lane_title(lane)}" if lane else one.title
        items.append(
            f'<div role="listitem"><a href="{html.escape(address)}" download>'
            f"{html.escape(title)}</a><span>{html.escape(one.about)}</span></div>"
        )
    return f'{_STYLE}<div class="ngf-take" role="list">{"".join(items)}</div>'
