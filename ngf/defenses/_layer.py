"""Where does the backdoor live? Scores for every layer, from clean images alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ngf.data._images import to_float
from ngf.defenses._events import LayerScore
from ngf.models import tunable_layers
from ngf.optim.kfac import Tap, input_rows, output_rows, sampled_output_gradients

_CHUNK = 64


def fisher_traces(model: torch.nn.Module, images: torch.Tensor, seed: int, draws: int = 4) -> dict[str, float]:
    """Tr(F) of each Linear and Conv2d, BatchNorm in eval mode, labels sampled from the model.

    images: uint8 (N, C, H, W). The squared norm of one image's gradient sum_t g_t a_t^T is
    sum_{t,s} (g_t.g_s)(a_t.a_s); it is taken from the gradient itself where that is smaller.
    """
    layers = tunable_layers(model)
    rng = torch.Generator().manual_seed(seed)
    total = dict.fromkeys(layers, 0.0)
    was = {p: p.requires_grad for p in model.parameters()}
    model.eval().requires_grad_(True)
    for part in images.split(_CHUNK):
        with Tap(layers) as tap:
            logits = model(to_float(part))
        rows = {name: input_rows(layer, tap.inputs[name]) for name, layer in layers.items()}
        for _ in range(draws):
            for name, gradient in sampled_output_gradients(tap, logits, rng).items():
                g = output_rows(layers[name], gradient)
                per_image = torch.einsum("nto,nti->noi", g, rows[name])
                total[name] += per_image.square().sum().item()
    for parameter, flag in was.items():
        parameter.requires_grad_(flag)
    return {name: value / (draws * len(images)) for name, value in total.items()}


def score_layers(defense: Any, problem: Any) -> Iterator[LayerScore]:
    """One score a layer, the highest to be tuned."""
    for name, value in fisher_traces(problem.model, problem.clean.images, problem.seed).items():
        yield LayerScore(name, value)
