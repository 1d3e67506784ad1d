"""A chart on a page: the figure that updates in place, its finding, and its table."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.charts.chart import Chart
from dashboard.components.live_chart import live_chart
from dashboard.kit.spreadsheet import as_csv


def show(chart: Chart, key: str, *, name: str = "", **options: Any) -> None:
    """Draw `chart` and, behind a click, its table.

    key: where the widgets keep their state.
    name: tells the table from others, for readers who jump from one table to the next.
    options: go to `live_chart`.
    """
    live_chart(chart, key=key, **options)
    with st.expander(
        f"Table: {name}" if name else "Table", key=f"{key}.table", on_change="rerun"
    ) as table:
        pass
    if not table.open:  # a closed table costs nothing
        return
    with table:
        st.dataframe(
            chart.table,
            hide_index=True,
            width="stretch",
            key=f"{key}.data",
            alt=f"Numbers behind the chart. {chart.finding}",
        )
        st.download_button(
            "Download CSV",
            as_csv(chart.table),
            file_name=f"{name or key}.csv",
            mime="text/csv",
            key=f"{key}.csv",
            icon=":material/download:",
            on_click="ignore",
        )
