"""Speed, and nothing else: each file measures a ratio against a public peer, or a time that people
feel, and writes JSON to `results`; README.md takes its figures from there.
"""

import json
import os
import platform
from pathlib import Path
from typing import Any

from ngf.places import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far; 0 where the system does not tell."""
    path = Path(f"/proc/{pid}/stat")
    if not path.exists():
        return 0.0
    parts = path.read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def conditions() -> dict[str, Any]:
    """What a time was measured under, for its file."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }
