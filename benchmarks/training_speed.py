"""Training images a second, against the loop that public benchmarks train with.

    python -m benchmarks.training_speed [--model preact_resnet18] [--steps 4] [--repeats 3]
    [--workers N] [--out ...]

Ours is the trainer of every run, on 32x32 images of 10 classes. The other loop has the same
network, batch size and optimizer, and what is usual around them: a data set that gives a PIL image
for each index, random crop with padding 4, random mirror, conversion to a tensor and normalization
by torchvision's transforms, a DataLoader with workers, and the loss and the hits of every batch
read on the host. Images are noise, which changes no time. Both are timed in turn, the first batch
of each left out; the ratio is the median over repeats.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks import RESULTS, write
from ngf import models
from ngf.config import Training
from ngf.data.images import Images
from ngf.environment import device, environment, exact_numerics
from ngf.terminal import finish
from ngf.training.loop import Trainer

SIZE, CLASSES = 32, 10


class Pictures(Dataset):
    """Arrays as CIFAR-10's data set has them, uint8 (N, H, W, 3)."""

    def __init__(self, images: np.ndarray, labels: list[int]) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(SIZE, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class _Enough(Exception):
    """As many steps as were asked for."""


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def ours(model: str, data: Images, settings: Training, steps: int) -> float:
    """Images a second of the trainer, over `steps` steps after the first."""
    where, seen, started = data.images.device, 0, 0.0

    def count() -> None:
        nonlocal seen, started
        if seen in (1, steps + 1):
            _wait(where)
            if seen > 1:
                raise _Enough
            started = time.perf_counter()
        seen += 1

    torch.manual_seed(0)
    trainer = Trainer(
        models.build(model, CLASSES).to(where),
        data,
        settings,
        seed=0,
        survives_flip=[True] * CLASSES,
    )
    trainer.before_step = count
    try:
        for _ in trainer:
            pass
    except _Enough:
        return steps * settings.batch_size / (time.perf_counter() - started)
    raise ValueError(f"{settings.epochs} epochs are fewer than {steps + 1} steps.")


def public(
    model: str, data: Pictures, settings: Training, steps: int, where: torch.device, workers: int
) -> float:
    """Images a second of the usual loop, over `steps` steps after the first."""
    torch.manual_seed(0)
    network = models.build(model, CLASSES).to(where).train()
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=True,
        weight_decay=settings.weight_decay,
    )
    loader = DataLoader(
        data,
        settings.batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        pin_memory=where.type == "cuda",
        persistent_workers=workers > 0,
    )
    seen, total, hits, started = 0, 0.0, 0, 0.0
    while True:
        for images, labels in loader:
            images, labels = images.to(where), labels.to(where)
            optimizer.zero_grad()
            output = network(images)
            loss = F.cross_entropy(output, labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            hits += output.argmax(1).eq(labels).sum().item()
            seen += 1
            if seen == 1:
                started = time.perf_counter()
            elif seen == steps + 1:
                return steps * settings.batch_size / (time.perf_counter() - started)


def main() -> None:
    where = device()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="preact_resnet18")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4 if where.type == "cpu" else 200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="of the DataLoader"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "training_speed.json")
    options = parser.parse_args()
    exact_numerics()
    load_before, settings = (
        os.getloadavg()[0],
        replace(Training(), batch_size=options.batch_size, epochs=1000, lr=0.01),
    )
    # An epoch of the other loop begins by filling its workers' queues; it should not end within the
    # steps.
    count = options.batch_size * (options.steps + 2)
    images = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    labels = [k % CLASSES for k in range(count)]
    data = Images(
        torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)
    ).to(where)
    found: list[tuple[float, float]] = []
    for _ in range(options.repeats):
        other = public(
            options.model, Pictures(images, labels), settings, options.steps, where, options.workers
        )
        found.append((ours(options.model, data, settings, options.steps), other))
        print(
            f"{found[-1][0]:,.1f} images/s, the usual loop {found[-1][1]:,.1f}, "
            f"{found[-1][0] / found[-1][1]:.2f} times as fast",
            flush=True,
        )
    result = {
        "model": options.model,
        "batch_size": options.batch_size,
        "steps": options.steps,
        "repeats": options.repeats,
        "workers": options.workers,
        "images_per_second": statistics.median(a for a, _ in found),
        "usual_loop_per_second": statistics.median(b for _, b in found),
        "ratio": statistics.median(a / b for a, b in found),
        "all": found,
        "environment": environment(),
        "load_before": load_before,
    }
    write(options.out, result)


if __name__ == "__main__":
    finish(main)
