"""Where does the backdoor live? Two answers from clean images alone.

`fisher`: the layer with the largest Fisher trace; a second's work, a fair first guess.

`auto`: tune every layer in turn, and keep the one that forgets best. To know what it forgot without
a trigger, look for universal perturbations of the *suspicious* model first: for each class, one
small change that sends clean images there (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401; as a
probe for backdoors: Wang et al. 2019, Neural Cleanse). A backdoor makes one of them succeed easily.
The score of a layer is one minus the highest success that these perturbations still have after
tuning it, or 0 when clean accuracy on held-out images fell too far. Scores are blunt, since a
trigger need not be small everywhere: among the layers within 0.1 of the best score the one with the
largest Fisher trace is taken. (The margin was set after seeing ten models of the first zoo.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.data.images import to_float
from ngf.defenses.contract import Choosing, Problem
from ngf.defenses.fine_tuning.events import LayerScore, LeftOut
from ngf.defenses.judging import Judge, keeps
from ngf.finite import Diverged
from ngf.models import flow
from ngf.optim.kfac import (
    Tap,
    image_norms,
    input_rows,
    output_rows,
    sampled_output_gradients,
    with_factors,
)
from ngf.options import SpecError

_CHUNK = 64  # images whose rows of one layer are held at once
# The probe: a change of at most 12/255 a pixel, small enough that no class is changed to the eye,
# found in 20 steps of a fifth of that on batches of 48 of 200 images: half a minute for all layers
# of a tiny network on two cores. How the score depends on these four was not measured.
_PROBE_IMAGES, _PROBE_BATCH, _PROBE_STEPS, _PROBE_SIZE = 200, 48, 20, 12 / 255
NEAR = 0.1  # scores within this of the best count as near it
# half a point more than the learning-rate rule, for the noise of a few hundred images
PROBE_TOLERANCE = 0.015


def fisher_traces(model: nn.Module, images: Tensor, seed: int, draws: int = 4) -> dict[str, float]:
    """Tr(F) of each layer where it can be taken, BatchNorm in eval mode, labels sampled from the
    model.

    images: uint8 (N, C, H, W).

    Raises SpecError when there is no such layer, Diverged for a model whose outputs are not finite.
    """
    found = flow(model, to_float(images[:2]))
    layers, _ = with_factors(found)
    if not layers:
        raise SpecError("The Fisher information of no layer of this model can be taken.")
    rng = torch.Generator().manual_seed(seed)
    total = dict.fromkeys(layers, 0.0)
    was = {p: p.requires_grad for p in model.parameters()}
    model.eval().requires_grad_(True)
    for part in images.split(_CHUNK):
        with Tap(layers) as tap:
            logits = model(to_float(part))
        drawn = [sampled_output_gradients(tap, logits, rng) for _ in range(draws)]
        for name, layer in layers.items():  # one after another: the rows of all take gigabytes
            rows = input_rows(layer, tap.inputs[name])
            for gradients in drawn:
                total[name] += image_norms(output_rows(layer, gradients[name]), rows).sum().item()
    for parameter, flag in was.items():
        parameter.requires_grad_(flag)
    return {name: value / (draws * len(images)) for name, value in total.items()}


def universal_perturbations(
    model: nn.Module, images: Tensor, num_classes: int, seed: int
) -> Tensor:
    """For each class one perturbation, at most 12/255 a pixel, that sends clean images there.

    images: float (N, C, H, W) in [0, 1] -> (num_classes, C, H, W). Sign gradient descent on the
    cross-entropy towards the class, over random batches.
    """
    rng = torch.Generator().manual_seed(seed)
    found = []
    for wanted in range(num_classes):
        change = torch.zeros_like(images[:1])
        for _ in range(_PROBE_STEPS):
            change.requires_grad_(True)
            batch = images[
                torch.randperm(len(images), generator=rng)[:_PROBE_BATCH].to(images.device)
            ]
            logits = model((batch + change).clamp(0, 1))
            loss = F.cross_entropy(logits, torch.full((len(batch),), wanted, device=images.device))
            (gradient,) = torch.autograd.grad(loss, change)
            change = (change.detach() - _PROBE_SIZE / 5 * gradient.sign()).clamp(
                -_PROBE_SIZE, _PROBE_SIZE
            )
        found.append(change.detach())
    return torch.cat(found)


@torch.no_grad()
def highest_success(model: nn.Module, images: Tensor, labels: Tensor, changes: Tensor) -> float:
    """The largest share, over classes, of other classes' images that a class's perturbation
    sends there.
    """
    best = 0.0
    for wanted, change in enumerate(changes):
        others = images[labels != wanted]
        called = model((others + change).clamp(0, 1)).argmax(1)
        best = max(best, (called == wanted).float().mean().item())
    return best


def pick(scores: Mapping[str, float], traces: Mapping[str, float]) -> str:
    """The `auto` layer: the largest Fisher trace among the scores near the best."""
    best = max(scores.values())
    return max(
        (name for name, score in scores.items() if score >= best - NEAR), key=traces.__getitem__
    )


def score_layers(
    problem: Problem, tune: Callable[[str, Problem], nn.Module], layers: Sequence[str]
) -> Iterator[Choosing | LayerScore | LeftOut]:
    """The scores behind `auto`, in [0, 1], higher is better; `pick` chooses among them. Before each
    comes what is tried.

    Clean accuracy is judged as in the learning-rate rule (see `judging`); where that takes several
    tunings of a layer, its score is the mean over them.

    tune: gives the model of a problem tuned at a layer, from the start; a layer at which that
        diverges is left out.
    layers: those to try.
    """
    model, clean = problem.model.eval().requires_grad_(False), problem.clean
    images, labels = to_float(clean.images[:_PROBE_IMAGES]), clean.labels[:_PROBE_IMAGES]
    with torch.no_grad():
        num_classes = model(images[:1]).shape[1]
    yield Choosing("layer", total=len(layers))
    changes = universal_perturbations(model, images, num_classes, problem.seed)
    judge = Judge(problem)
    for number, name in enumerate(layers, start=1):
        yield Choosing("layer", name, number, len(layers))
        tuned: list[nn.Module] = []

        def kept(part: Problem, name: str = name, tuned: list[nn.Module] = tuned) -> nn.Module:
            tuned.append(tune(name, part))
            return tuned[-1]

        try:
            after = judge.after(kept, PROBE_TOLERANCE)
        except Diverged as error:
            yield LeftOut(name, f"tuning it diverged: {error}")
            continue
        left = [highest_success(found, images, labels, changes) for found in tuned]
        sound = keeps(after, judge.start, PROBE_TOLERANCE)
        yield LayerScore(name, 1 - sum(left) / len(left) if sound else 0.0)
