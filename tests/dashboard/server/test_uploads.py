"""Uploads against the real server, by a real page: how many, how large, and given back."""

from __future__ import annotations

import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from dashboard.my_model import bringing
from dashboard.server import uploads
from dashboard.server.app import settings
from dashboard.studio import upload as studio
from ngf.imports import pictures
from tests.helpers.browser import WAIT
from tests.helpers.run_folders import free_port, server

# The server with limits that no memory is needed for, and that nobody has to wait for.
FULL, FILES, ALL = 2 * 2**20, 4, 10 * 2**20
SMALL = f"""
from dashboard.server import app, uploads
uploads.FILE_BYTES, uploads.PAGE_FILES, uploads.ALL_BYTES = {FULL}, {FILES}, {ALL}
uploads.GRACE, uploads.EVERY = 2.0, 0.2
app.main()
"""

# Sends a form as the page does, with its own session, cookie and token.
SEND = """async ([address, bytes, token, fields]) => {
  const form = new FormData()
  for (let i = 0; i < fields; i++) form.append(`f${i}`, new Blob([new Uint8Array(bytes)]), "a.png")
  const headers = { "X-Xsrftoken": token }
  return (await fetch(address, { method: "PUT", body: form, headers })).status
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-c", SMALL, "--port", str(port)]
    with server(tmp_path_factory.mktemp("uploads") / "runs", command, port) as found:
        yield found


def open_studio(browser: Browser, url: str, picture: Path) -> tuple[Page, str, str]:
    """A page that has uploaded one picture; with the address of its uploads, and its token."""
    page = browser.new_context().new_page()
    page.goto(f"{url}/studio", timeout=WAIT)
    page.get_by_text("Use a picture").click(timeout=WAIT)
    with page.expect_request(re.compile("/_stcore/upload_file/"), timeout=WAIT) as sent:
        page.locator("input[type=file]").set_input_files(picture)
    expect(page.get_by_test_id("stFileChip")).to_be_visible(timeout=WAIT)
    headers = sent.value.all_headers()
    return page, sent.value.url.rpartition("/")[0], headers.get("x-xsrftoken", "")


def _is_upload(answer: Response) -> bool:
    return "/_stcore/upload_file/" in answer.url and answer.request.method == "PUT"


def put(page: Page, address: str, size: int, token: str, fields: int = 1) -> int:
    return page.evaluate(SEND, [address, size, token, fields])


def wait_for(url: str, wanted: int) -> None:
    """Until so many bytes of uploads are in the memory of the server."""
    until = time.monotonic() + 90
    while (found := held(url)) != wanted:
        assert time.monotonic() < until, (found, wanted)
        time.sleep(0.1)


def held(url: str) -> int:
    """Bytes of uploads in the memory of the server, as it says; it counts every few seconds."""
    with urllib.request.urlopen(f"{url}/_stcore/metrics", timeout=30) as answer:
        found = re.findall(rb'UploadedFileManager".*\} (\d+)', answer.read())
    return sum(map(int, found))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    from PIL import Image

    Image.effect_noise((300, 300), 80).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_the_limits_are_those_of_the_forms() -> None:
    assert settings(1)["server.maxUploadSize"] * 2**20 > uploads.FILE_BYTES + uploads.FRAME_BYTES
    assert bringing.MOST_MEGABYTES * 2**20 == uploads.FILE_BYTES <= uploads.ALL_BYTES / 2
    assert studio.MOST_MEGABYTES == 2
    # a model, and as many single images as an import asks for
    assert uploads.PAGE_FILES > 1 + pictures.LEAST


def test_a_page_holds_a_few_files_and_gives_them_back(
    browser: Browser, url: str, picture: Path
) -> None:
    page, address, token = open_studio(browser, url, picture)
    wait_for(url, picture.stat().st_size)
    assert put(page, f"{address}/too-large", FULL + uploads.FRAME_BYTES, token) == 413
    assert put(page, f"{address}/two-parts", 1000, token, fields=2) == 400
    answers = [put(page, f"{address}/file-{i}", FULL, token) for i in range(FILES + 1)]
    assert answers == [204] * (FILES - 1) + [429] * 2
    wait_for(url, picture.stat().st_size + 3 * FULL)
    # what fails is not counted, and what is replaced keeps its place
    assert [put(page, f"{address}/file-0", 1000, token, fields=n) for n in (2, 1)] == [400, 204]
    wait_for(url, picture.stat().st_size + 2 * FULL + 1000)
    # another page is not affected, and replaces its picture as often as it likes
    other, elsewhere, mark = open_studio(browser, url, picture)
    for i in range(2 * FILES):
        another = picture.with_name(f"another-{i}.png")
        another.write_bytes(picture.read_bytes())
        with other.expect_response(_is_upload, timeout=WAIT) as answer:
            other.locator("input[type=file]").set_input_files(another)
        assert answer.value.status == 204
        expect(other.get_by_test_id("stFileChip")).to_have_count(1, timeout=WAIT)
        expect(other.get_by_test_id("stFileChip")).to_contain_text(another.name, timeout=WAIT)
    # all pages together
    answers = [put(other, f"{elsewhere}/file-{i}", FULL, mark) for i in range(3)]
    assert answers == [204, 204, 503], "4 MB here, 4 MB there, and two pictures"
    page.context.close()
    other.context.close()
    wait_for(url, 0)  # nobody else comes, and Streamlit alone would keep them


def test_an_upload_without_a_length_or_a_page_is_refused(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 1000

    for body, status in ((chunks(), 411), (b"x" * 1000, 403), (b"x" * (3 * 2**20), 413)):
        request = urllib.request.Request(
            f"{url}/_stcore/upload_file/none/one", data=body, method="PUT"
        )
        try:
            urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as refused:
            with refused:
                assert refused.code == status
        except (ConnectionError, urllib.error.URLError):
            assert status == 413  # the server does not read on
        else:
            raise AssertionError("it was taken")
