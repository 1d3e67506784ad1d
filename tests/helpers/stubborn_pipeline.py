"""A pipeline that saves a checkpoint and then looks at nothing for a long time, as a library in the
middle of one large computation.
"""

from __future__ import annotations

import time
from pathlib import Path

from ngf.runs.recorder import Recorder


def run(path: Path) -> None:
    recorder = Recorder(path)
    recorder.save_state(lambda folder: (folder / "count.json").write_text("[0, 0.5]"))
    recorder.emit("epoch", step=1, steps=2, loss=1.0, ca=0.5, asr=None, ra=None)
    time.sleep(300)
