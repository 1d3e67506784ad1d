"""A chart on a page: the figure that updates in place, its finding, its table, and all of it as
files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from dashboard.charts.chart import Chart
from dashboard.components.live_chart import live_chart
from dashboard.kit.chart_files import MIME, as_file, file_name, said_of
from ngf.runs.store import Run


def show(
    chart: Chart, key: str, *, name: str = "", of: Sequence[Run] = (), **options: Any
) -> int | None:
    """Draw `chart` and, behind a click, its table. Picture and numbers can be saved. Returns what
    `live_chart` returns.

    key: where the widgets keep their state.
    name: tells the table from others, for readers who jump from one table to the next.
    of: the runs that it is drawn of, which the files name; none for evidence that ships.
    options: go to `live_chart`.
    """
    words = name or key
    file = file_name(words, of)
    title = words[0].upper() + words[1:]
    about = said_of(words, of)
    pressed = live_chart(chart, key=key, title=title, name=file, about=about, **options)
    with st.expander(
        f"Table, CSV, JSON: {name}" if name else "Table, CSV, JSON",
        key=f"{key}.table",
        on_change="rerun",
    ) as table:
        pass
    if not table.open:  # a closed table costs nothing
        return pressed
    with table:
        st.dataframe(
            chart.table,
            hide_index=True,
            width="stretch",
            key=f"{key}.data",
            alt=f"Numbers behind the chart. {chart.finding}",
        )
        with st.container(horizontal=True):
            for kind, mime in MIME.items():
                st.download_button(
                    f"Download {kind.upper()}",
                    partial(as_file, kind, chart, words, of),
                    file_name=f"{file}.{kind}",
                    mime=mime,
                    key=f"{key}.{kind}",
                    icon=":material/download:",
                    on_click="ignore",
                )
    return pressed
