"""Measures λmax and Tr(H) of the purified models that `evidence.frontier` has left, into its
files.

python -m evidence.sharpness [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from evidence.cards import curvature
from evidence.frontier import OUT
from ngf.checkpoints.weights import load_model, load_weights
from ngf.environment import exact_numerics
from ngf.runs.store import Store

METHODS = ("ngf, auto layer", "ngf, last layer", "sgd, same layer", "sgd, all layers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--models", type=Path, default=Path("runs/evidence"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    exact_numerics()
    store = Store()
    for path in sorted(OUT.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        for name in METHODS:
            if name not in found["results"]:
                continue
            result = found["results"][name]
            weights = (
                options.models
                / found["run"]
                / f"{name.replace(', ', '-').replace(' ', '-')}.safetensors"
            )
            if "curvature" in result or not weights.exists():
                continue
            model = load_weights(load_model(store, found["run"]).model, weights)
            result["curvature"] = curvature(store, found["run"], model)
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(
                f"{found['run']}: {name}: λmax {result['curvature']['lambda_max']:.1f} "
                f"Tr(H) {result['curvature']['trace']:.0f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
