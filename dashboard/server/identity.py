"""Gives every browser a name that it can prove, and makes one browser the machine's own.

`python -m dashboard.server.identity [--url http://127.0.0.1:8501]` prints a link. The browser that
opens it, once, may do what the terminal of this machine may: pause, resume, stop and delete every
run.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.kit import signature
from dashboard.kit.signature import Visitor
from ngf.places import runs_dir

OWN = "/own"  # the path of the link
_KEPT = 400 * 24 * 3600  # seconds; browsers keep no cookie for longer
_REFUSED = (
    "This link is not valid, or it was used before: it works once.\n"
    "In a terminal of the machine that serves this page, with the same NGF_RUNS,\n"
    "`python -m dashboard.server.identity` prints another one.\n"
)
_log = logging.getLogger(__name__)


class Identity:
    """Gives a cookie to a browser that opens a page without a valid one.

    The cookie holds a random name and its signature. Scripts cannot read it (HttpOnly), and other
    sites cannot use it (SameSite); Lax, because with Strict whoever follows a link from elsewhere
    would come without it, and be given another.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        value = self._due(scope)
        if value is None:
            await self.app(scope, receive, send)
            return

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("Set-Cookie", value)
                headers["Cache-Control"] = "no-store"  # nobody else may be given this name
            await send(message)

        await self.app(scope, receive, with_cookie)

    def _due(self, scope: Scope) -> str | None:
        """The cookie that this request is to be given; None when it has one or opens no page."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        connection = HTTPConnection(scope)
        if "text/html" not in connection.headers.get("accept", ""):
            return None  # what a page loads: it comes in parallel, each would be given another name
        if connection.url.path.endswith(OWN) or "/api/" in connection.url.path:
            return None
        try:
            root = runs_dir()
            if known(root, connection) is not None:
                return None
            return _set_cookie(root, signature.newcomer(), connection.url.scheme)
        except OSError as error:  # a full disk, say: pages are shown, and say what they cannot do
            _log.error("No identity for a visitor: %s", error)
            return None


def known(root: Path, connection: HTTPConnection) -> Visitor | None:
    """Whose cookie a request has; None without a valid one."""
    cookie = connection.cookies.get(signature.cookie_name(root), "")
    return signature.visitor_of(root, cookie)


def _set_cookie(root: Path, visitor: Visitor, scheme: str) -> str:
    """The header that makes a browser keep who it is."""
    answer = Response()
    answer.set_cookie(
        signature.cookie_name(root),
        signature.cookie_of(root, visitor),
        max_age=_KEPT,
        path="/",
        secure=scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer.headers["set-cookie"]


def own(request: Request) -> Response:
    """Make the browser that opens the link the machine's own, and show it the first page."""
    root = runs_dir()
    if request.method != "GET" or not signature.accept(root, request.query_params.get("token", "")):
        return PlainTextResponse(_REFUSED, 403, {"Cache-Control": "no-store"})
    visitor = replace(known(root, request) or signature.newcomer(), machine=True)
    answer = RedirectResponse("./", 303, {"Cache-Control": "no-store"})  # also below a path
    answer.headers["Set-Cookie"] = _set_cookie(root, visitor, request.url.scheme)
    return answer


ROUTE = Route(OWN, own)


def link(url: str) -> str:
    """The address that makes the browser that opens it, once, the machine's own.

    url: the address of the server, without a slash at its end.
    """
    return f"{url}{OWN}?token={signature.invite(runs_dir())}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dashboard.server.identity", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--url", default="http://127.0.0.1:8501", help="address at which that browser reaches us"
    )
    print(link(parser.parse_args(argv).url.rstrip("/")))


if __name__ == "__main__":
    main()
