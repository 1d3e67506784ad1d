"""Files of a run are replaced as a whole, even while others read them."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ngf.runs.files import to_json, write_atomic
from ngf.runs.folder import RESULT


@pytest.mark.skipif(os.name != "posix", reason="only POSIX replaces a file that is open")
def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path, over, seen = tmp_path / RESULT, threading.Event(), []

    def read() -> None:
        while not over.is_set():
            if path.exists():
                seen.append(len(json.loads(path.read_text())["values"]))

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for size in range(60):
            write_atomic(path, to_json({"values": [0.1] * (100 * size)}))
        over.set()
        for reader in readers:
            reader.result()
    assert seen and list(tmp_path.iterdir()) == [path]
