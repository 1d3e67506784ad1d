"""Who is answered: requests whose `Host` and `Origin` are the dashboard's own, port included.

A browser sends requests here for any page that asks it to. `Host` gives away a page under a foreign
name that leads to this machine (DNS rebinding), `Origin` a page of another site, or of another
program on this machine. Both are compared with what was configured before anything else looks at a
request: Streamlit compares names without ports, and looks up the address of this machine on the
internet for each one that it does not know.

Below a path, as https://lab.example.org/ngf, the path is cut off here. All addresses on our pages
are relative, so that nothing behind the guard knows of it, and a proxy may cut it off as well.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import file_util

from dashboard.kit.pages import pages
from ngf.options import SpecError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_PORTS = {"http": 80, "https": 443}
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
# The first part of a path must not be one that is served already.
_SERVED = ("api", "own", "vendor", "static", "media", "component", "_stcore")
_SAYABLE = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")  # what of a request is repeated in an answer
_SAID_MOST = 20  # refusals that are logged; a page that is refused tries again every second
_NOTICE = Path(__file__).with_name("refused.js")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Addresses:
    """Under which addresses the dashboard answers.

    hosts: what `Host` may be, in lower case, with the port unless it is the usual one.
    origins: what `Origin` may be, in lower case.
    paths: what is cut off the front of paths, without the last slash, the longest first.
    any_port: where the server listens on every address of this machine, its port. It then also
        answers under the number of the address that a request came to: no name leads there that
        somebody else could have made up.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    paths: tuple[str, ...] = ()
    any_port: int | None = None

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """HTTP status and reason why a request is not answered, or None."""
        hosts, origins = _sent(scope, b"host"), _sent(scope, b"origin")
        here = self._here(scope)
        if len(hosts) != 1 or (hosts[0] not in self.hosts and hosts[0] != here):
            return 421, _strange_host(scope, hosts)
        if not origins:
            # Browsers send it with every WebSocket and whatever could change something. A program
            # that is no browser could write what it likes, and does not act for a foreign page.
            return None
        if len(origins) != 1 or not self._own(origins[0], here):
            return 403, _strange_origin(origins)
        return None

    def origins_at(self, scope: Scope) -> list[str]:
        """The origins of pages that are answered on this connection."""
        here = self._here(scope)
        return sorted(self.origins | ({f"http://{here}"} if here else set()))

    def _own(self, origin: str, here: str | None) -> bool:
        return origin in self.origins or (here is not None and origin == f"http://{here}")

    def _here(self, scope: Scope) -> str | None:
        """The number and port that this connection came to, where each of them is answered."""
        server = scope.get("server")
        if self.any_port is None or not server:
            return None
        return _netloc(_bracketed(server[0].removeprefix("::ffff:")), self.any_port, "http")


def addresses(
    port: int, address: str = "127.0.0.1", public: Sequence[str] = (), base: str = ""
) -> Addresses:
    """Where a server that listens on this port and address answers.

    public: the addresses that visitors see in their browsers, as `--public-url` gives them.
    base: a path that a proxy leaves in front of ours, as `--base-path` gives it.
    Raises SpecError, which says what is wrong with one of them.
    """
    everywhere = _is_everywhere(address)
    own = {*LOOPBACK} if everywhere or _is_loopback(address) else set()
    own |= set() if everywhere else {_bracketed(address)}
    hosts = {_netloc(name, port, "http") for name in own}
    origins = {f"http://{host}" for host in hosts}
    paths = {base_path(base, "--base-path")}
    for text in public:
        url = _public(text)
        host = _netloc(_name(url), url.port, url.scheme)
        origins.add(f"{url.scheme}://{host}")
        # Many proxies hand on the name without the port.
        hosts |= {host, _name(url), f"{_name(url)}:{url.port or _PORTS[url.scheme]}"}
        paths.add(base_path(url.path, f"--public-url {text}"))
    return Addresses(
        frozenset(hosts),
        frozenset(origins),
        tuple(sorted(paths - {""}, key=len, reverse=True)),
        port if everywhere else None,
    )


def base_path(text: str, option: str) -> str:
    """A path with a slash in front and none behind, "" for the root. Raises SpecError."""
    path = "/" + text.strip("/") if text.strip("/") else ""
    if not _PATH.fullmatch(path):
        raise SpecError(
            f"{option}: {text!r} is not a path. Allowed: letters, digits, and - . _ ~ between "
            "slashes, such as /ngf."
        )
    taken = (*_SERVED, *pages())
    if path.split("/")[1:2] and path.split("/")[1] in taken:
        raise SpecError(
            f"{option}: the dashboard itself has something at /{path.split('/')[1]}. Choose "
            f"another path than {', '.join(taken)}, such as /ngf."
        )
    return path


def _public(text: str) -> SplitResult:
    """The parts of a public address. Raises SpecError."""
    try:
        url = urlsplit(text.strip())
        whole = url.scheme in _PORTS and _SAYABLE.fullmatch(_name(url)) and url.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        whole = False
    if not whole or url.query or url.fragment or url.username is not None:
        raise SpecError(
            f"--public-url: {text!r} is not the address of a site. Give what visitors see in "
            "their browsers, such as https://lab.example.org/ngf or http://localhost:9000."
        )
    return url


def _name(url: SplitResult) -> str:
    """The host of an address as browsers write it."""
    name = url.hostname or ""
    return _bracketed(name if name.isascii() else name.encode("idna").decode())


def _netloc(name: str, port: int | None, scheme: str) -> str:
    """`name:port`, as browsers write it: without the port that is usual for the scheme."""
    return name if port in (None, _PORTS[scheme]) else f"{name}:{port}"


def _bracketed(address: str) -> str:
    return f"[{address.lower()}]" if ":" in address else address.lower()


def _is_everywhere(address: str) -> bool:
    try:
        return not address or ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _sent(scope: Scope, name: bytes) -> list[str]:
    """All values of one header, in lower case."""
    return [
        value.decode("latin-1").lower() for key, value in scope["headers"] if key.lower() == name
    ]


def _strange_host(scope: Scope, hosts: Sequence[str]) -> str:
    if len(hosts) != 1 or not _SAYABLE.fullmatch(hosts[0]):
        return "This dashboard answers requests that name one host, the one it was started for."
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    return (
        f"This dashboard does not answer under the name {hosts[0]}. If visitors reach it there, "
        f"start it with --public-url {scheme}://{hosts[0]} (the address in their browsers, with "
        "the path if it lies below one)."
    )


def _strange_origin(origins: Sequence[str]) -> str:
    origin = origins[0].removeprefix("https://").removeprefix("http://")
    if len(origins) != 1 or not _SAYABLE.fullmatch(origin) or origin == origins[0]:
        return "This dashboard does not answer requests that come from a page without an address."
    return (
        f"This dashboard does not answer pages of {origins[0]}. If that is where visitors reach "
        f"it, start it with --public-url {origins[0]} (the address in their browsers, with the "
        "path if it lies below one)."
    )


class Guard:
    """Answers what `addresses` refuses with a reason, and hands on the rest without the path that
    the dashboard lies below.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses):
        self.app, self.addresses = app, addresses
        self._said: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if refused := self.addresses.refusal(scope):
            status, reason = refused
            self._say(reason)
            if scope["type"] == "websocket":  # a browser tells no page why it was refused
                await send({"type": "websocket.close", "code": 1008})
                return
            await PlainTextResponse(f"{reason}\n", status)(scope, receive, send)
            return
        path = self._below(scope["path"])
        place = (
            path.rpartition("/")[2] + "/" if path in self.addresses.paths else _without_slash(path)
        )
        if place and scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            query = scope["query_string"].decode("latin-1")
            place += f"?{query}" if query else ""
            await RedirectResponse(place)(scope, receive, send)
            return
        if path != scope["path"]:
            scope = {**scope, "path": path, "raw_path": quote(path).encode()}
        await self.app(_of_one_site(scope), receive, send)

    def _below(self, path: str) -> str:
        """A path without what the dashboard lies below."""
        for base in self.addresses.paths:
            if path.startswith(f"{base}/"):
                return path[len(base) :]
        return path

    def _say(self, reason: str) -> None:
        """Log each reason once, for whoever started the dashboard."""
        if reason not in self._said and len(self._said) < _SAID_MOST:
            self._said.add(reason)
            _log.warning(reason)


def _without_slash(path: str) -> str:
    """Where a path with slashes at its end leads without them, relative to it; "" if it has none.

    What is relative on a page leads astray from there; from a path that lacks its slash, too.
    """
    bare = path.rstrip("/")
    if bare in ("", path):
        return ""
    return "../" * (len(path) - len(bare)) + quote(bare.rpartition("/")[2])


def _of_one_site(scope: Scope) -> Scope:
    """An allowed WebSocket whose `Host` is that of its `Origin`, also where a proxy wrote another:
    Streamlit then asks nobody whether the two are the same.
    """
    origins = [value for key, value in scope["headers"] if key.lower() == b"origin"]
    if scope["type"] != "websocket" or not origins:
        return scope
    host = origins[0].partition(b"://")[2]
    rest = [(key, value) for key, value in scope["headers"] if key.lower() != b"host"]
    return {**scope, "headers": [(b"host", host), *rest]}


# ---- Streamlit's empty page, which says so when the browser shows it under an address that is not
# answered: a proxy may hide it from the server until the page opens its WebSocket


def pages_of(addresses: Addresses) -> list[Route]:
    """Routes that answer with Streamlit's page and the script `refused.js` in it."""
    page = (Path(file_util.get_static_dir()) / "index.html").read_text(encoding="utf-8")
    notice = _NOTICE.read_text(encoding="utf-8")

    async def answer(request: Request) -> Response:
        query = request.query_params.multi_items()
        if ("embed", "1") in query:  # the short form; Streamlit knows only the word
            said = [(name, "true" if name == "embed" else value) for name, value in query]
            return RedirectResponse(f"?{urlencode(said)}")
        origins = json.dumps(addresses.origins_at(request.scope))
        with_notice = page.replace("<head>", f"<head><script>{notice}({origins})</script>", 1)
        return HTMLResponse(with_notice, headers={"Cache-Control": "no-cache"})

    return [Route("/", answer), *(Route(f"/{name}", answer) for name in pages())]
