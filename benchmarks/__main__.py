"""`make bench`: every benchmark in turn, each writing JSON to benchmarks/results."""

import subprocess
import sys

for name in (
    "speed",
    "curvature",
    "surfaces",
    "data",
    "poisoning",
    "training_speed",
    "live",
    "polling",
):
    print(f"== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
