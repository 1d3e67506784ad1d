"""The key of a store, and what is signed with it: who a browser is, and the link that makes a
browser the machine's own. No Streamlit.

The key is a file that only the account may read that serves the store. It survives restarts, so a
browser stays who it is. Without the file every browser begins as somebody new.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

KEY = ".identity.key"  # in the store's folder: 64 hexadecimal digits, mode 600
INVITATION = ".identity.link"  # the hash of the one link that is not used yet
_KEY = re.compile(r"[0-9a-f]{64}")
_COOKIE = re.compile(r"([0-9a-f]{32})\.(visitor|machine)\.([0-9a-f]{64})")
_TRIES = 20  # to read or make the key while others do the same


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page.

    id: a random name that holds no personal data; the `owner` of the runs that it starts.
    machine: whether it is the machine's own browser, which may do what its terminal may.
    known: whether its browser can prove it: one that keeps no cookies cannot.
    """

    id: str
    machine: bool = False
    known: bool = True


def newcomer() -> Visitor:
    """A visitor that nobody has met before."""
    return Visitor(secrets.token_hex(16))


def cookie_name(root: Path) -> str:
    """The cookie of the store `root`. Browsers keep one jar for all ports of a machine, so two
    stores need two names.
    """
    return f"ngf_visitor_{_signed(root, 'name')[:12]}"


def cookie_of(root: Path, visitor: Visitor) -> str:
    """The value of the cookie that proves who `visitor` is."""
    text = f"{visitor.id}.{'machine' if visitor.machine else 'visitor'}"
    return f"{text}.{_signed(root, text)}"


def visitor_of(root: Path, cookie: str) -> Visitor | None:
    """Who has this cookie; None when it was not made with the key of the store `root`."""
    match = _COOKIE.fullmatch(cookie)
    if match is None:
        return None
    name, role, signature = match.groups()
    if not hmac.compare_digest(signature, _signed(root, f"{name}.{role}")):
        return None
    return Visitor(name, machine=role == "machine")


def invite(root: Path) -> str:
    """A token that makes one browser the machine's own, once. It ends the one before."""
    token = secrets.token_urlsafe(32)
    _write_private(root / INVITATION, _hash(token), replace=True)
    return token


def accept(root: Path, token: str) -> bool:
    """Whether `token` is the invitation of the store; it is used up then, also when two come at
    once.
    """
    try:
        kept = (root / INVITATION).read_text(encoding="ascii", errors="replace")
        if not hmac.compare_digest(kept.encode(), _hash(token).encode()):
            return False
        (root / INVITATION).unlink()  # one of two succeeds
    except OSError:
        return False
    return True


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _signed(root: Path, text: str) -> str:
    return hmac.new(bytes.fromhex(_key(root)), text.encode(), hashlib.sha256).hexdigest()


def _key(root: Path) -> str:
    """The key of the store, made when there is none. Raises OSError when that is impossible."""
    path = root / KEY
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            found = path.read_text(encoding="ascii", errors="replace")
            if _KEY.fullmatch(found):
                if os.name == "posix" and path.stat().st_mode & 0o077:
                    path.chmod(0o600)  # a copy of the store may have opened it to others
                return found
            path.unlink()  # damaged: nothing that it signed can be trusted
        with contextlib.suppress(FileExistsError):
            _write_private(path, secrets.token_hex(32), replace=False)
    raise OSError(f"{path} can be neither read nor made. Remove it, then load the page again.")


def _write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write a file for this account alone, whole or not at all. Raises FileExistsError when there
    is one and it is not to be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")  # 600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
