"""Records the race of the first page: NGF against SGD, both with their defaults, on a zoo model.

An ordinary purification in a store of its own, copied to assets/recordings/race in the run-folder
format.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from evidence.zoo import specs
from ngf.config import Choice, PurifySpec
from ngf.places import ASSETS
from ngf.runs.child import execute
from ngf.runs.store import Store

TARGET = ASSETS / "recordings" / "race"
SHIPPED = (
    "spec.json",
    "request.json",
    "events.jsonl",
    "result.json",
    "purified.ngf.safetensors",
    "purified.sgd.safetensors",
)


def main() -> int:
    parent = next(
        spec for spec in specs() if spec.data == "signs" and spec.attack.name == "badnets"
    )
    store = Store(Path("runs/recording"))
    run = store.submit(PurifySpec(parent=parent.id, lanes=(Choice("ngf"), Choice("sgd"))))
    if execute(run) != "done":
        print(run.error, file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        shutil.copy2(run.path / name, TARGET / name)
    print({name: lane["after"]["asr"] for name, lane in run.result["lanes"].items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
