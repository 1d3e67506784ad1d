"""A real nginx in front of the dashboard, with the recipe of docs/behind-a-proxy.md."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ngf.places import ROOT

RECIPE = ROOT / "docs" / "behind-a-proxy.md"
_UNPACKED = ROOT / ".venv" / "nginx" / "usr" / "sbin" / "nginx"  # by .ci/system-packages


def program() -> str | None:
    """Where nginx is, if it is here and runs."""
    places = (shutil.which("nginx"), "/usr/sbin/nginx", str(_UNPACKED))
    there = (place for place in places if place and Path(place).exists())
    return next((place for place in there if _runs(place)), None)


def _runs(place: str) -> bool:
    return subprocess.run([place, "-v"], capture_output=True, check=False).returncode == 0


def recipe(name: str, upstream: int, port: int, certificate: Path) -> str:
    """The `server` block of the documents, for another name, other ports and a certificate."""
    text = RECIPE.read_text(encoding="utf-8")
    found = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert found, "docs/behind-a-proxy.md has a block for nginx"
    block = found[1]
    for there, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/lab.example.org.pem": str(certificate),
        "/etc/ssl/lab.example.org.key": str(certificate),
        "lab.example.org": name,
        "127.0.0.1:8501": f"127.0.0.1:{upstream}",
    }.items():
        assert there in block, f"the recipe has {there}"
        block = block.replace(there, here)
    return block


def certificate(folder: Path) -> Path:
    """A certificate that nobody vouches for, with its key, in one file."""
    made = folder / "site.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=example.org -days 2"
    subprocess.run(
        [*command.split(), "-keyout", folder / "key", "-out", folder / "cert"],
        check=True,
        capture_output=True,
    )
    made.write_bytes((folder / "cert").read_bytes() + (folder / "key").read_bytes())
    return made


@contextlib.contextmanager
def nginx(folder: Path, port: int, servers: Sequence[str]) -> Iterator[None]:
    """nginx with these `server` blocks, which listen on `port`."""
    started = program()
    assert started
    spaces = "\n".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\nworker_processes 1;\nevents {{}}\n"
        f"http {{\naccess_log off;\nport_in_redirect off;\n{spaces}\n"
        + "\n".join(servers)
        + "\n}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [started, "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                assert process.stderr
                raise RuntimeError(f"nginx did not start: {process.stderr.read()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)
        if process.stderr:
            process.stderr.close()
