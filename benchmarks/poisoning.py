"""Time to put a trigger on 50,000 images of 32x32, against a loop over single images with PIL and
NumPy.

    python -m benchmarks.poisoning [--images 50000] [--looped 1000] [--repeats 5] [--out ...]

Every attack whose trigger is a formula. The loop is what public benchmarks have in their data sets:
an image is taken from the array as a PIL image, changed as a NumPy array by a formula over all of
it (a patch by a mask of the image's size), and made a PIL image again. What is the same for all
images is computed before it, in float32. It is timed on fewer images and scaled. Both are timed in
turn; the ratio is the median over repeats. That both give the same images is measured, too: the
largest difference, in steps of 255.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import RESULTS, write
from ngf.attacks.poison import apply_in_chunks
from ngf.catalogue import build, catalogue
from ngf.config import Choice
from ngf.environment import environment
from ngf.terminal import finish

SIZE = 32
DITHERED = "bppa, dithered"
_SLOW = 50  # times fewer images in the loop over pixels of dithering
Change = Callable[[np.ndarray], np.ndarray]  # uint8 (H, W, 3) -> the same with the trigger


def linear(attack: Any) -> Change:
    """A patch or a pattern, kept * x + added: both are taken from what the attack does to
    black and to white.
    """
    black, white = (
        attack.apply(torch.full((1, 3, SIZE, SIZE), value))[0].permute(1, 2, 0).contiguous().numpy()
        for value in (0.0, 1.0)
    )
    added, kept = 255 * black, white - black
    return lambda image: np.rint(np.clip(kept * image + added, 0, 255)).astype(np.uint8)


def sig(attack: Any) -> Change:
    wave = np.sin(2 * np.pi * attack.frequency * np.arange(SIZE, dtype=np.float32) / SIZE)[
        None, :, None
    ]
    added = (attack.delta * wave).astype(np.float32)
    return lambda image: np.rint(np.clip(image + added, 0, 255)).astype(np.uint8)


def wanet(attack: Any) -> Change:
    """Bilinear sampling: four pixels and their weights for each, looked up before."""
    grid = attack._grid(torch.zeros(1, 3, SIZE, SIZE))[0].numpy()
    x, y = (np.clip((grid[..., k] + 1) / 2 * (SIZE - 1), 0, SIZE - 1) for k in (0, 1))
    left, top = (np.minimum(place.astype(int), SIZE - 2) for place in (x, y))
    right, down = x - left, y - top
    corners = [
        (
            (top + i) * SIZE + left + j,
            ((down if i else 1 - down) * (right if j else 1 - right))[..., None],
        )
        for i in (0, 1)
        for j in (0, 1)
    ]

    def change(image: np.ndarray) -> np.ndarray:
        pixels = image.reshape(-1, 3)
        return np.rint(sum(weight * pixels[place] for place, weight in corners)).astype(np.uint8)

    return change


def bppa(attack: Any) -> Change:
    steps = np.float32(attack.levels - 1)
    return lambda image: np.rint(np.rint(image * (steps / 255)) * (255 / steps)).astype(np.uint8)


def dithered(attack: Any) -> Change:
    """Floyd and Steinberg's loop over pixels."""
    steps = attack.levels - 1

    def change(image: np.ndarray) -> np.ndarray:
        values = np.zeros((SIZE + 1, SIZE + 2, 3), np.float32)
        values[:SIZE, 1:-1] = image / np.float32(255)
        for row in range(SIZE):
            for column in range(1, SIZE + 1):
                old = values[row, column].copy()
                new = np.clip(np.rint(old * steps) / steps, 0, 1)
                error = old - new
                values[row, column] = new
                values[row, column + 1] += error * np.float32(7 / 16)
                values[row + 1, column - 1] += error * np.float32(3 / 16)
                values[row + 1, column] += error * np.float32(5 / 16)
                values[row + 1, column + 1] += error * np.float32(1 / 16)
        return np.rint(255 * values[:SIZE, 1:-1]).astype(np.uint8)

    return change


PEERS: dict[str, Callable[[Any], Change]] = {
    "badnets": linear,
    "tact": linear,
    "drawn": linear,
    "blend": linear,
    "adaptive_blend": linear,
    "sig": sig,
    "wanet": wanet,
    "bppa": bppa,
    DITHERED: dithered,
}


def loop(change: Change, images: np.ndarray) -> list[Image.Image]:
    """The trigger on uint8 images (N, H, W, 3), one after the other."""
    return [Image.fromarray(change(np.array(Image.fromarray(image)))) for image in images]


def measure(name: str, images: torch.Tensor, looped: int, repeats: int) -> dict[str, Any]:
    """Both times and their ratio for one attack. images: uint8 (N, 3, H, W)."""
    plugin, _, option = name.partition(", ")
    attack = build("attacks", Choice(plugin, {"dither": True} if option else {}))
    change, rows = PEERS[name](attack), images[:looped].permute(0, 2, 3, 1).contiguous().numpy()
    found = np.stack([np.asarray(image) for image in loop(change, rows[:100])]).astype(int)
    ours_found = (
        apply_in_chunks(attack, images[: len(found)]).permute(0, 2, 3, 1).numpy().astype(int)
    )
    ours, theirs = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        loop(change, rows)
        theirs.append((time.perf_counter() - started) / len(rows) * len(images))
        started = time.perf_counter()
        apply_in_chunks(attack, images)
        ours.append(time.perf_counter() - started)
    return {
        "seconds": statistics.median(ours),
        "loop_seconds": statistics.median(theirs),
        "ratio": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        "looped": len(rows),
        "repeats": repeats,
        "largest_difference": int(np.abs(found - ours_found).max()),
        "share_different": float((found != ours_found).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument(
        "--looped", type=int, default=1_000, help="images that the loop is timed on"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "poisoning.json")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    known = [
        name
        for name, about in catalogue()["attacks"].items()
        if name != "none" and not about["prepared"] and not about["controlled"]
    ]
    images = torch.randint(
        0,
        256,
        (options.images, 3, SIZE, SIZE),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )
    found = {}
    for name in [*known, DITHERED]:
        fewer = _SLOW if name == DITHERED else 1
        here = images[: options.images // fewer]
        found[name] = measure(name, here, max(2, options.looped // fewer), options.repeats)
        found[name]["images"] = len(here)
        print(
            f"{name:<16} {found[name]['seconds']:8.3f} s, loop {found[name]['loop_seconds']:8.2f} "
            f"s, {found[name]['ratio']:6.1f} times faster",
            flush=True,
        )
    result = {
        "size": SIZE,
        "attacks": found,
        "environment": environment(),
        "load_before": load_before,
    }
    write(options.out, result)


if __name__ == "__main__":
    finish(main)
