"""Serves tests/helpers/live_page.py with the routes and headers of the dashboard, and a surface
that changes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dashboard.server.app import application, settings
from dashboard.server.guard import addresses


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
    port = int(sys.argv[1])
    page = Path(__file__).with_name("live_page.py")
    app = application(addresses(port), page, [Route("/test/surface", surface)])
    app.run(config=settings(port))
