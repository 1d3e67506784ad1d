"""Plotly's library as the installed package has it, and ours that stand around a figure."""

from __future__ import annotations

from pathlib import Path

import plotly

_HERE = Path(__file__).parent / "live_chart"


def plotly_source() -> bytes:
    """plotly.min.js"""
    return (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()


def script(*names: str) -> str:
    """Our files of these names, one after another."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
