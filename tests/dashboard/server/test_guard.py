"""Who is answered: raw handshakes and requests over real sockets, as a foreign page can cause them
and as our own pages send them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dashboard.server.guard import addresses
from ngf.options import SpecError
from tests.helpers.run_folders import RACE, free_port, race_events, server, write_run

STREAM = "/_stcore/stream"
PUBLIC = "https://lab.example.org/ngf"


@dataclass
class Hole:
    """A proxy that takes every request to the internet and answers none; how many there were."""

    url: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)


@pytest.fixture(scope="module")
def hole() -> Iterator[Hole]:
    """Whatever a server asks outside while this fixture lives ends up here."""
    made, open_ones = Hole(), []
    listening = socket.create_server(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = listening.accept()
                open_ones.append(connection)
                made.asked.append(peer)

    threading.Thread(target=take, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            patch.setenv(name, made.url)
        for name in ("NO_PROXY", "no_proxy"):  # the test itself asks the server
            patch.setenv(name, "127.0.0.1")
        yield made
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for connection in open_ones:
        connection.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, hole: Hole) -> Iterator[int]:
    base = tmp_path_factory.mktemp("guard")
    write_run(base / "runs", RACE, race_events(20))
    port = free_port()
    with server(base / "runs", _command(port, "--public-url", PUBLIC), port):
        yield port


def _command(port: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "dashboard.server.app", "--port", str(port), *options]


def ask(
    port: int,
    headers: list[str],
    path: str = STREAM,
    *,
    method: str = "GET",
    to: str = "127.0.0.1",
) -> tuple[int, str]:
    """Status and body of the answer to exactly these headers."""
    lines = [f"{method} {path} HTTP/1.1", *headers, "Connection: close"]
    if path.endswith(STREAM) and method == "GET":
        lines = lines[:-1] + [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        ]
    with socket.create_connection((to, port), timeout=60) as raw:
        raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = raw.recv(65536)
        if not answer.startswith(b"HTTP/1.1 101"):
            while more := raw.recv(65536):
                answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode("utf-8", "replace")


OWN = [
    ("127.0.0.1:{port}", "http://127.0.0.1:{port}"),
    ("localhost:{port}", "http://localhost:{port}"),
    ("LOCALHOST:{port}", "http://localhost:{port}"),
    ("[::1]:{port}", "http://[::1]:{port}"),
    ("localhost:{port}", "http://127.0.0.1:{port}"),
    ("lab.example.org", "https://lab.example.org"),
    ("127.0.0.1:{port}", "https://lab.example.org"),  # a proxy that writes its own Host
    ("lab.example.org", None),
    ("127.0.0.1:{port}", None),  # no browser
]
STRANGE_HOSTS = [
    "evil.example:{port}",
    "evil.example",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.1.:{port}",
    "127.0.0.1:{port}.evil.example",
    "localhost:{port}@evil.example",
    "localhost.evil.example:{port}",
    "0.0.0.0:{port}",
    "2130706433:{port}",
    "lab.example.org.evil.example",
    "evil.lab.example.org",
    "",
]
STRANGE_ORIGINS = [
    "http://evil.example:{port}",
    "http://evil.example",
    "http://localhost:9999",
    "http://127.0.0.1:1234",
    "http://0.0.0.0:1",
    "http://0.0.0.0:{port}",
    "http://localhost",
    "https://localhost:{port}",
    "http://lab.example.org",
    "https://lab.example.org:8443",
    "https://evil.lab.example.org",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "file://",
    "null",
    "",
]


@pytest.mark.parametrize(("host", "origin"), OWN)
def test_own_pages_and_programs_are_answered(
    port: int, hole: Hole, host: str, origin: str | None
) -> None:
    """Before Streamlit's own check of the two, which would ask the internet about some of them."""
    headers = [f"Host: {host.format(port=port)}"]
    headers += [f"Origin: {origin.format(port=port)}"] if origin else []
    assert ask(port, headers)[0] == 101
    assert ask(port, headers, f"/api/runs/{RACE.id}")[0] == 200
    assert ask(port, headers, f"/ngf/api/runs/{RACE.id}")[0] == 200
    assert ask(port, headers, f"/ngf{STREAM}")[0] == 101
    assert not hole.asked


@pytest.mark.parametrize("host", STRANGE_HOSTS)
def test_a_foreign_name_is_refused(port: int, hole: Hole, host: str) -> None:
    """DNS rebinding: the page's own name leads here, so that its origin fits its host."""
    host = host.format(port=port)
    for headers in (
        [f"Host: {host}", f"Origin: http://{host}"],
        [f"Host: {host}", f"Origin: http://127.0.0.1:{port}"],
        [f"Host: {host}"],
    ):
        assert ask(port, headers)[0] == 403
        for path in ("/", "/lab", "/api/runs", "/vendor/plotly.min.js", "/_stcore/health", "/ngf"):
            status, words = ask(port, headers, path)
            assert status == 421 and "This dashboard" in words and RACE.id not in words
    assert not hole.asked


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
def test_a_foreign_page_is_refused(port: int, hole: Hole, origin: str) -> None:
    """It names us as host, as any page can; its origin gives it away, by the port alone too."""
    headers = [f"Host: 127.0.0.1:{port}", f"Origin: {origin.format(port=port)}"]
    assert ask(port, headers)[0] == 403
    assert ask(port, headers, f"/ngf{STREAM}")[0] == 403
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        for path in ("/api/runs", "/_stcore/upload_file/a/b", "/ngf/api/runs"):
            status, words = ask(port, headers, path, method=method)
            assert status == 403 and "This dashboard" in words and RACE.id not in words
    assert not hole.asked


def test_two_of_a_header_are_refused(port: int) -> None:
    own = f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}"
    for path in (STREAM, "/api/runs"):
        refused = (400, 403, 421)  # the first is the server's own answer
        assert ask(port, [own[0], "Host: evil.example", own[1]], path)[0] in refused
        assert ask(port, [*own, "Origin: http://evil.example"], path)[0] in refused
        assert ask(port, [own[1]], path)[0] in refused, "none at all"


def test_a_refusal_names_the_setting(port: int) -> None:
    words = ask(port, ["Host: box.example:9000"], "/lab")[1]
    assert "--public-url http://box.example:9000 " in words
    words = ask(port, ["Host: box.example", "X-Forwarded-Proto: https"], "/lab")[1]
    assert "--public-url https://box.example " in words
    own = f"Host: 127.0.0.1:{port}"
    words = ask(port, [own, "Origin: https://box.example:9000"], "/api/runs")[1]
    assert "--public-url https://box.example:9000 " in words
    words = ask(port, ["Host: <script>alert(1)</script>"], "/lab")[1]
    assert "<" not in words, "nothing is repeated that is no name"


def test_many_refusals_hold_up_nobody(port: int, hole: Hole) -> None:
    """Streamlit's check would ask the internet twice for each, with all others waiting."""
    for number in range(1000):
        origin = f"Origin: http://evil-{number}.example"
        assert ask(port, [f"Host: 127.0.0.1:{port}", origin])[0] == 403
    assert ask(port, [f"Host: 127.0.0.1:{port}"], "/_stcore/health")[0] == 200
    assert not hole.asked


def test_a_server_for_everybody_answers_under_its_numbers(
    tmp_path: Path, hole: Hole, capfd: pytest.CaptureFixture[str]
) -> None:
    """Numbers cannot be made to lead here; names have to be given."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it shows by which address we would go out
        number = probe.getsockname()[0]
    port = free_port()
    options = ("--address", "0.0.0.0", "--public-url", f"http://mybox:{port}")
    with server(tmp_path / "runs", _command(port, *options), port):
        for to, name in ((number, number), ("127.0.0.2", "127.0.0.2"), (number, "mybox")):
            own = [f"Host: {name}:{port}", f"Origin: http://{name}:{port}"]
            assert ask(port, own, to=to)[0] == 101
            assert f'"http://{name}:{port}"' in ask(port, own[:1], "/", to=to)[1], "known to it"
        for host in (f"otherbox:{port}", f"192.0.2.1:{port}", number):
            assert ask(port, [f"Host: {host}", f"Origin: http://{host}"], to=number)[0] == 403
            assert ask(port, [f"Host: {host}"], "/", to=number)[0] == 421
        strange = [f"Host: {number}:{port}", f"Origin: http://{number}:{port + 1}"]
        assert ask(port, strange, to=number)[0] == 403
    assert not hole.asked


@pytest.mark.parametrize(
    ("public", "base", "words"),
    [
        (["lab.example.org"], "", "such as https://lab.example.org/ngf"),
        (["ftp://lab.example.org"], "", "not the address of a site"),
        (["https://"], "", "not the address of a site"),
        (["https://lab.example.org:99999"], "", "not the address of a site"),
        (["https://me@lab.example.org"], "", "not the address of a site"),
        (["https://lab.example.org/ngf?x=1"], "", "not the address of a site"),
        (["https://lab.example.org/a b"], "", "is not a path"),
        (["https://lab.example.org/../x"], "", "is not a path"),
        (["https://lab.example.org/lab"], "", "has something at /lab"),
        ([], "/api/ngf", "has something at /api"),
        ([], "/ngf//x", "is not a path"),
    ],
)
def test_what_is_no_address_is_said(public: list[str], base: str, words: str) -> None:
    with pytest.raises(SpecError, match="--(public-url|base-path)") as caught:
        addresses(8501, "127.0.0.1", public, base)
    assert words in str(caught.value)


def test_addresses_are_written_as_browsers_write_them() -> None:
    made = addresses(80, "127.0.0.1", ["HTTPS://Müller.Example:443/Ngf/"], "/a/b/")
    assert made.origins >= {"http://localhost", "https://xn--mller-kva.example"}
    assert made.hosts >= {"localhost", "[::1]", "xn--mller-kva.example"}
    assert set(made.paths) == {"/Ngf", "/a/b"}
