"""`make bench`: every benchmark in turn, each writing JSON to benchmarks/results."""

import subprocess
import sys

from ngf.places import child_environment
from ngf.terminal import finish

BENCHMARKS = (
    "speed",
    "curvature",
    "surfaces",
    "data",
    "poisoning",
    "training_speed",
    "live",
    "first_look",
    "polling",
    "many_runs",
    "long_runs",
    "classroom",
    "sweeps",
)


def main() -> int:
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        module = f"benchmarks.{name}"
        done = subprocess.run([sys.executable, "-m", module], env=child_environment())
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(finish(main))
