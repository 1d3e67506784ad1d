"""Prints what `timm_digests.tsv` holds, of the timm that is installed; takes three minutes.

python -m ngf.models.of_others.timm_digests > ngf/models/of_others/timm_digests.tsv
"""

from __future__ import annotations

import sys

import torch

from ngf.models.of_others.timm_networks import PREFIX, build, digest, package


def table() -> dict[str, list[str]]:
    """Digest of the names of weights -> networks."""
    found: dict[str, list[str]] = {}
    for name in sorted(package(PREFIX + "resnet18").list_models()):
        with torch.device("meta"):
            names = build(PREFIX + name, 10, 3).state_dict()
        found.setdefault(digest(names), []).append(name)
    return found


if __name__ == "__main__":
    lines = (f"{key}\t{' '.join(names)}\n" for key, names in sorted(table().items()))
    sys.stdout.writelines(lines)
