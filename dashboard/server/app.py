"""The web server: Streamlit's pages, our JSON routes, and headers, in one ASGI application.

`python -m dashboard.server.app --port 8501` serves it alone; `python -m dashboard` adds the
supervisor that executes runs. The pages are found by `dashboard/server/navigation.py`, which
Streamlit executes for every visitor; whom they are for is checked by `dashboard/server/guard.py`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import sys
import threading
import tomllib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.__main__ import BASE_PATH, PUBLIC_URL
from dashboard.server import identity
from dashboard.server.api import ROUTES, plotly_library
from dashboard.server.guard import Addresses, Guard, addresses, pages_of
from dashboard.server.uploads import UploadLimits
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.lifeline import when_cut

NAVIGATION = Path(__file__).with_name("navigation.py")
OPTIONS = Path(__file__).with_name("streamlit.toml")
COLLECT_EVERY = 60.0  # seconds
TURN = 0.0005  # seconds that a busy thread keeps others waiting, of which a poll does ten times
_WARM = (
    "pandas",
    "pyarrow",
    "streamlit.dataframe_util",
    *(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "dashboard").rglob("[a-z]*.py"))
        if path.name != "page.py" and path.parent.name != "server"
    ),
)
# Streamlit writes inline styles and scripts, and starts workers from blobs; everything else comes
# from here.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "connect-src 'self'",  # the page's own WebSocket included
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class SecurityHeaders:
    """Adds `HEADERS` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)


@asynccontextmanager
async def _lifespan(app: st.App) -> AsyncGenerator[dict[str, Any], None]:
    """Import what the pages need, then take it out of garbage collection.

    Streamlit collects all garbage after every script run, and does not look at frozen objects. What
    pages leave behind is still collected, and a full collection once a minute picks up the rest.
    """
    sys.setswitchinterval(TURN)
    for name in _WARM:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    stopped = threading.Event()
    threading.Thread(target=_collect, args=(stopped,), name="collect-garbage", daemon=True).start()
    yield {}
    stopped.set()


def _collect(stopped: threading.Event) -> None:
    """Collect garbage once a minute; first compress the chart library for the first visitor."""
    plotly_library()
    while not stopped.wait(COLLECT_EVERY):
        gc.collect()


def application(
    reached: Addresses, script: Path = NAVIGATION, routes: Sequence[BaseRoute] = ()
) -> st.App:
    """The application for these addresses: Streamlit's pages, our routes and `routes`, guarded."""
    return st.App(
        script,
        routes=[*ROUTES, identity.ROUTE, *routes, *pages_of(reached)],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Guard, addresses=reached),
            Middleware(identity.Identity),
            Middleware(UploadLimits),
        ],
        lifespan=_lifespan,
    )


def settings(port: int, address: str = "127.0.0.1") -> dict[str, Any]:
    """Streamlit's options for a server on this port and address."""
    options = _flat(tomllib.loads(OPTIONS.read_text(encoding="utf-8")))
    return options | {
        "server.port": port,
        "server.address": address,
        "server.headless": True,
        "browser.serverAddress": address,  # else it is looked up on the internet, for a greeting
    }


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dashboard.server.app", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--port", type=int, default=8501, help="port of the server")
    parser.add_argument("--address", default="127.0.0.1", help="address that it listens on")
    parser.add_argument("--public-url", metavar="URL", action="append", default=[], help=PUBLIC_URL)
    parser.add_argument("--base-path", metavar="PATH", default="", help=BASE_PATH)
    options = parser.parse_args(argv)
    try:
        reached = addresses(options.port, options.address, options.public_url, options.base_path)
    except SpecError as exc:
        parser.error(str(exc))
    when_cut(lambda: os.kill(os.getpid(), signal.SIGTERM))  # so that its port is free again
    application(reached).run(config=settings(options.port, options.address))


if __name__ == "__main__":
    main()
