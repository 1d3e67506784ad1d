"""Bounds what visitors upload, which Streamlit holds in memory: bytes, files and time.

A page may hold some hundred files, all pages together a gigabyte, and an upload takes ten minutes
at most. What a page holds is given back when it is closed: Streamlit itself keeps the files of a
closed page until it happens to need the place.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime

MEGABYTE = 2**20
FILE_BYTES = 256 * MEGABYTE  # a model of 60 million parameters; the studio takes 2 MB
FRAME_BYTES = 64 * 1024  # what a form has around its file
PAGE_FILES = 400  # a model, and images one by one; more of them come in a zip
ALL_BYTES = 1024 * MEGABYTE  # a class of thirty, each with a model of 8 million parameters
SECONDS = 600.0  # for one upload: 256 MB at 3.5 Mbit/s
GRACE = 15.0  # seconds in which a closed page may come back, as after a lost connection
EVERY = 5.0  # seconds between two looks for closed pages
_PATH = re.compile(r"/_stcore/upload_file/([^/]+)/([^/]+)$")


class UploadLimits:
    """Applies the limits to Streamlit's route for uploads."""

    def __init__(self, app: ASGIApp):
        self.app = app
        self._held: dict[str, dict[str, int]] = {}  # page -> file -> bytes, from the first byte on
        self._coming: set[str] = set()  # files that are on their way
        self._closed: dict[str, float] = {}  # page -> when it was first seen closed
        self._watch: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _PATH.search(scope["path"]) if scope["type"] == "http" else None
        if match is None or scope["method"] != "PUT":
            await self.app(scope, receive, send)
            return
        page, file = match.groups()
        size = _length(scope)
        self._forget_removed(page)
        if refused := self._refusal(page, file, size):
            status, sentence = refused
            await PlainTextResponse(sentence, status)(scope, receive, send)
            return
        files = self._held.setdefault(page, {})
        before, files[file] = files.get(file), size
        self._coming.add(file)
        status = 0
        try:
            status = await self._pass_on(scope, receive, send)
        finally:
            self._coming.discard(file)
            if not 200 <= status < 300:
                _put(self._held, page, file, before)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._give_back())

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Have Streamlit take the upload, in time. Returns the status of the answer."""
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            async with asyncio.timeout(SECONDS):
                await self.app(scope, receive, watched)
        except TimeoutError:
            if not status:
                late = f"The upload took more than {SECONDS:.0f} seconds."
                answer = PlainTextResponse(late, 408, {"Connection": "close"})
                await answer(scope, receive, watched)
        return status

    def _refusal(self, page: str, file: str, size: int) -> tuple[int, str] | None:
        """The status and the sentence for an upload that would be too much."""
        if size < 0:
            return 411, "An upload has to say how long it is."
        if size > FILE_BYTES + FRAME_BYTES:
            return 413, f"The file is too large. Allowed: {FILE_BYTES // MEGABYTE} MB or less."
        if file in self._coming:
            return 409, "This file is on its way already."
        if len(self._held.get(page, {}).keys() - {file}) >= PAGE_FILES:
            return 429, f"This page holds {PAGE_FILES} files already. Remove one, or reload it."
        if sum(sum(files.values()) for files in self._held.values()) + size > ALL_BYTES:
            return 503, "All visitors together have uploaded too much. Try again in a minute."
        return None

    def _forget_removed(self, page: str) -> None:
        """Count a file no longer that the page has removed."""
        if (server := _server()) is None:
            return
        for file in list(self._held.get(page, {})):
            if file not in self._coming and not server.uploaded_file_mgr.get_files(page, [file]):
                _put(self._held, page, file, None)

    async def _give_back(self) -> None:
        """Drop the files of pages that have been closed for a while, until nothing is held."""
        while self._held and (server := _server()) is not None:
            for page in list(self._held):
                self._forget_removed(page)
                if server.is_active_session(page):
                    self._closed.pop(page, None)
                elif time.monotonic() - self._closed.setdefault(page, time.monotonic()) >= GRACE:
                    server.uploaded_file_mgr.remove_session_files(page)
            self._closed = {page: at for page, at in self._closed.items() if page in self._held}
            await asyncio.sleep(EVERY)


def _put(held: dict[str, dict[str, int]], page: str, file: str, size: int | None) -> None:
    """Note that a page holds a file of `size` bytes; None for a file that it does not hold."""
    files = held.setdefault(page, {})
    if size is None:
        files.pop(file, None)
    else:
        files[file] = size
    if not files:
        del held[page]


def _length(scope: Scope) -> int:
    """The length that a request announces, in bytes; -1 without one."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if len(lengths) == 1 and lengths[0].isdigit() else -1


def _server() -> Any:
    """Streamlit's runtime; None before it has started and after it has ended."""
    return runtime.get_instance() if runtime.exists() else None
