"""Which class a network gives an image: in float32, and quicker in bfloat16 for curves that are
drawn while a run goes on.

bfloat16 keeps eight bits of a number. Over the networks of the zoo the outputs for one image are
off by at most 5 % of what lies between the largest and their mean, and 0.07 % of the predictions
change; none does where the two largest are further apart than 3 % of that. So whatever is closer
than 10 % is predicted again in float32: 2 % of the images there. On processors that multiply
bfloat16 the whole takes a third of the time for the tiny network, a fifth for ResNet-18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ngf.data.images import to_float
from ngf.finite import OUTPUTS, Diverged

Predict = Callable[[nn.Module, Tensor], Tensor]  # a model, uint8 (N, C, H, W) -> classes (N,)

# Images at once, at most; on a CPU what a cache holds, which takes half to three quarters of the
# time of 500.
_BATCH, _BATCH_ON_CPU = 500, 100
_VALUES = _BATCH * 3 * 64 * 64  # numbers in them, at most: large images come in smaller batches
_DOUBT = 0.1
AGREEMENT = 0.999  # share of equal predictions below which the quick form is not taken


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes (N,) of uint8 images (N, C, H, W), BatchNorm in eval mode; the mode
    is restored. Raises Diverged when the outputs are not finite: they are of no class.
    """
    called, sound = [], []
    for logits in _logits(model, _batches(images)):
        called.append(logits.argmax(1))
        sound.append(torch.isfinite(logits).all())  # looked at once, so that a GPU need not wait
    if not bool(torch.stack(sound).all()):
        raise Diverged(OUTPUTS)
    return torch.cat(called)


@torch.no_grad()
def predict_quickly(model: nn.Module, images: Tensor) -> Tensor:
    """As `predict`, in bfloat16 but for what is in doubt there."""
    called, doubtful = [], []
    with torch.autocast(images.device.type, torch.bfloat16):
        batches = (x.to(memory_format=torch.channels_last) for x in _batches(images))
        for logits in _logits(model, batches):
            logits = logits.float()
            first, second = logits.topk(2, 1).values.T
            clear = first - second >= _DOUBT * (first - logits.mean(1))  # not for what is no number
            called.append(logits.argmax(1))
            doubtful.append(~clear)
    found, again = torch.cat(called), torch.cat(doubtful).nonzero()[:, 0]
    if len(again):
        found[again] = predict(model, images[again])
    return found


def quickest(model: nn.Module, images: Tensor) -> Predict:
    """`predict_quickly` where it pays on the device of the images and agrees with `predict` on
    them, else `predict`.

    images: like those that it is for.
    """
    if not _has_bfloat16(images.device):
        return predict
    same = predict(model, images) == predict_quickly(model, images)
    return predict_quickly if float(same.float().mean()) >= AGREEMENT else predict


def _batches(images: Tensor) -> Iterator[Tensor]:
    """Images as floats in [0, 1], some at a time."""
    most = _BATCH_ON_CPU if images.device.type == "cpu" else _BATCH
    for part in images.split(max(1, min(most, _VALUES // images.shape[1:].numel()))):
        yield to_float(part)


def _logits(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    training = model.training
    model.eval()
    try:
        yield from map(model, batches)
    finally:
        model.train(training)


def _has_bfloat16(where: torch.device) -> bool:
    """Whether the device multiplies bfloat16; where it only emulates that, it takes longer."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return where.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
