"""Speed, and nothing else: each file measures a ratio against a public peer, or a time that people
feel, and writes JSON to `results`; README.md takes its figures from there.
"""

import json
from pathlib import Path
from typing import Any

from ngf.places import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
