"""The counting pipeline, by somebody who prints all the time, to both streams and past Python."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from ngf.runs.recorder import Recorder
from tests.helpers import counting_pipeline


def run(path: Path) -> None:
    emit = Recorder.emit

    def aloud(recorder: Recorder, type: str, **values: object) -> None:
        print("to standard output", type)
        print("to standard error", type, file=sys.stderr, flush=True)
        with suppress(OSError):  # as a library in C does
            os.write(1, b"by a library\n")
        emit(recorder, type, **values)

    Recorder.emit = aloud  # type: ignore[method-assign]
    try:
        counting_pipeline.run(path)
    finally:
        Recorder.emit = emit  # type: ignore[method-assign]
