"""Serves tests/helpers/live_page.py with the routes and headers of the dashboard, and a surface
that changes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dashboard.server.api import ROUTES
from dashboard.server.app import SecurityHeaders, settings


async def surface(request: Request) -> JSONResponse:
    """Its height is what the file named by SURFACE holds."""
    height = float(Path(os.environ["SURFACE"]).read_text(encoding="utf-8"))
    z = [[height * x * y for x in range(-3, 4)] for y in range(-3, 4)]
    return JSONResponse(
        {
            "version": str(height),
            "finding": f"Height {height:g}.",
            "alt": "A surface",
            "final": False,
            "status": "running",
            "figure": {
                "data": [{"type": "surface", "z": z, "showscale": False}],
                "layout": {"scene": {"aspectmode": "cube"}},
            },
        }
    )


if __name__ == "__main__":
    st.config._main_script_path = None  # dashboard.server.app has set it to its own pages
    app = st.App(
        Path(__file__).with_name("live_page.py"),
        routes=[*ROUTES, Route("/test/surface", surface)],
        middleware=[Middleware(SecurityHeaders)],
    )
    app.run(config=settings(int(sys.argv[1])))
