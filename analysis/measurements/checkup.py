"""Checkup of a model that may have a backdoor, from clean images alone: what detectors find, and
what curvature and Fisher information say of it.

Parts, each with its source in its own file: triggers reversed for every class (Wang et al. 2019,
Neural Cleanse; `ngf.defenses.unlearning.reversal`), universal perturbations towards every class,
the smallest common shift of the features towards every class (`analysis.detectors`), the largest
eigenvalue of each image's input Hessian, and measures of sharpness that no rescaling of the weights
changes (see `analysis.measures`), with the Fisher trace of each layer. The numbers judge nothing:
`analysis.verdict` compares them with models that are known to be benign or backdoored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from analysis.curvature.fisher import image_layer_traces
from analysis.curvature.input_hessian import InputHessian, top_each
from analysis.curvature.last_layer import LastLayer
from analysis.curvature.operators import fisher_rao_norm
from analysis.detectors.latent import smallest_shifts
from analysis.detectors.standing_out import cost_of_rates, index_of, most_suspicious
from analysis.detectors.universal import hits, perturb
from analysis.image_kinds import kinds_of
from analysis.measurements.base import Measurement
from analysis.model_under_test import (
    chunks,
    evaluate,
    exact_float32,
    frozen_copy,
    parameters_by_layer,
)
from analysis.quantiles import mean_and_median
from analysis.result import Partial, Value
from ngf.data import to_bytes
from ngf.defenses.batches import step_rng
from ngf.defenses.unlearning.reversal import BATCH, Reversal, anomaly
from ngf.evaluate import wilson
from ngf.options import SpecError, option

CLEAN = kinds_of(attacked=False, in_loop=False)
_HESSIAN_IMAGES, _LANCZOS_STEPS, _CHUNK = 200, 5, 64
_FISHER_DRAWS = 2
_EVERY = 20  # steps of a search between two partial results
# Share of the time of each part, in this order.
_CLOSED, _CURVATURE, _UNIVERSAL = 0.05, 0.15, 0.4


@dataclass(frozen=True, kw_only=True)
class Checkup(Measurement):
    """Whether a model has a backdoor, asked of every class, from clean images alone.

    K is the number of classes. An index tells how far the most extreme class lies from the median
    class, see `analysis.detectors.standing_out`.

    Values, None until they are known; those of features and last layer stay None if the model does
    not end in a linear layer:
        ca, loss, rate: of the images.
        anomaly_index: of the smallest reversed trigger.
        smallest_trigger: its size, as a share of the image.
        universal_success, universal_success_low, universal_success_high: of the most successful
            universal perturbation, on images that it was not fitted on, with a 95 % Wilson
            interval; universal_index.
        latent_shift, latent_index: the smallest shift of the features.
        input_lambda_max_median, input_lambda_max_median_stderr: of the input Hessian, over images.
        relative_flatness, fisher_rao_norm: no rescaling changes them.
        fisher_trace, fisher_trace_stderr: over images.
        suspicious_class: the class with the highest mean index of the parts known so far.
        num_parameters, num_classes, image_shape, trigger_steps, universal_steps, epsilon: models
            are compared only where these are the same.

    Arrays:
        masks: uint8 (K, H, W), and patterns: uint8 (K, H, W, 3), the reversed triggers so far.
        trigger_size: (K,), as a share of the image; trigger_success: (K,); trigger_index: (K,).
        perturbations: uint8 (K, H, W, 3), gray where nothing is changed.
        universal_rate, universal_index: (K,).
        latent_size, latent_index: (K,).
        layers: (L,), names; layer_trace, layer_trace_stderr: (L,), Fisher trace of each.
    """

    title: ClassVar[str] = "Checkup for a backdoor"
    whole: ClassVar[bool] = True

    num_images: int = option(
        500, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    trigger_steps: int = option(
        150, "Steps of the search for a trigger of every class.", unit="steps", ge=5, le=10_000
    )
    universal_steps: int = option(
        40,
        "Steps of the search for a universal perturbation of every class.",
        unit="steps",
        ge=1,
        le=10_000,
    )
    epsilon: float = option(
        16 / 255,
        "Largest change of a pixel by a universal perturbation, of a range of one.",
        ge=1e-4,
        le=1.0,
    )

    def measure(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each part, and in the course of the searches.

        Raises SpecError for images that are not clean.
        """
        if self.data not in CLEAN:
            raise SpecError(
                f"data = {self.data} has a trigger, and a checkup knows of none. "
                f"Allowed: {', '.join(CLEAN)}."
            )
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        found = _Findings(frozen, images, labels, self.rate)
        for name in ("trigger_steps", "universal_steps", "epsilon"):
            found.values[name] = getattr(self, name)

        def partial(fraction: float, done: bool = False) -> Partial:
            found.name_the_class()
            values = {**found.values, **stamp()}
            return Partial(values=values, arrays=dict(found.arrays), fraction=fraction, done=done)

        found.close()
        yield partial(_CLOSED)
        found.bend(seed)
        found.inform(self.layers, seed)
        yield partial(_CURVATURE)
        for share in found.shift_pixels(self.epsilon, self.universal_steps, seed):
            yield partial(_CURVATURE + (_UNIVERSAL - _CURVATURE) * share)
        for share in found.replace_pixels(self.trigger_steps, seed):
            yield partial(_UNIVERSAL + (1 - _UNIVERSAL) * share, share == 1)


class _Findings:
    """What is known so far of a frozen model; each method adds a part."""

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, rate: str) -> None:
        self.model, self.images, self.labels = model, images, labels
        loss, _, ca = evaluate(model, images, labels)
        with torch.no_grad():
            self.classes = int(model(images[:1]).shape[-1])
        self.values: dict[str, Value] = {
            "num_classes": self.classes,
            "num_parameters": sum(p.numel() for p in model.parameters()),
            "image_shape": "x".join(map(str, images.shape[1:])),
            "loss": loss,
            "ca": ca,
            "rate": rate,
            **dict.fromkeys(
                (
                    *("anomaly_index", "smallest_trigger", "suspicious_class"),
                    *("universal_success", "universal_success_low", "universal_success_high"),
                    *("universal_index", "latent_shift", "latent_index", "relative_flatness"),
                    *("input_lambda_max_median", "input_lambda_max_median_stderr"),
                    *("fisher_rao_norm", "fisher_trace", "fisher_trace_stderr"),
                )
            ),
        }
        self.arrays: dict[str, np.ndarray] = {}
        self._indices: dict[str, Tensor] = {}

    def name_the_class(self) -> None:
        if self._indices:
            self.values["suspicious_class"] = most_suspicious(*self._indices.values())

    def _stand_out(self, part: str, costs: Tensor) -> None:
        self._indices[part] = index_of(costs.cpu())
        self.arrays[f"{part}_index"] = self._indices[part].numpy()

    def close(self) -> None:
        """What the last layer tells in closed form, or nearly."""
        last = LastLayer.of(self.model, self.images)
        if last is None:
            return
        self.values["relative_flatness"] = last.relative_flatness()
        bias = last.weight.new_zeros(self.classes)
        if last.bias:
            bias += self.model.get_parameter(f"{last.name}.bias".removeprefix("."))
        shifts = smallest_shifts(last.features, self.labels, last.weight, bias)
        self._stand_out("latent", shifts)
        self.arrays["latent_size"] = shifts.cpu().double().numpy()
        self.values["latent_shift"] = float(shifts.min())
        self.values["latent_index"] = float(self._indices["latent"].max())

    def bend(self, seed: int) -> None:
        """The input Hessian, image by image."""
        generator, top = Generator().manual_seed(seed), []
        some = self.images[:_HESSIAN_IMAGES], self.labels[:_HESSIAN_IMAGES]
        for x, y in chunks(*some, _CHUNK):
            hessian = InputHessian(self.model, x, y)
            start = torch.randn(*hessian.shape, generator=generator, dtype=torch.float64)
            top.append(top_each(hessian, start.to(x), _LANCZOS_STEPS).value)
        known = mean_and_median("input_lambda_max", np.concatenate(top))
        self.values |= {name: known[name] for name in known if "median" in name}

    def inform(self, layers: str, seed: int) -> None:
        """Fisher information, layer by layer."""
        names = parameters_by_layer(self.model, layers)
        every = [name for own in names.values() for name in own]
        self.values["fisher_rao_norm"] = fisher_rao_norm(
            self.model, self.images, self.labels, every
        )
        generator = Generator().manual_seed(seed)
        samples = [
            image_layer_traces(self.model, names, self.images, generator=generator)
            for _ in range(_FISHER_DRAWS)
        ]
        each = np.mean(samples, axis=0)  # (N, L)
        error = _error(each)
        self.arrays |= {
            "layers": np.array(list(names)),
            "layer_trace": each.mean(0),
            "layer_trace_stderr": error,
        }
        self.values["fisher_trace"] = float(each.sum(1).mean())
        self.values["fisher_trace_stderr"] = float(_error(each.sum(1)))

    def shift_pixels(self, epsilon: float, steps: int, seed: int) -> Iterator[float]:
        """Universal perturbations, fitted on every other image and judged on the rest (a single
        image is judged on itself); yields the share that is done.
        """
        fit, judge = slice(0, None, 2), slice(1 if len(self.images) > 1 else 0, None, 2)
        search = perturb(
            self.model,
            self.images[fit],
            self.labels[fit],
            self.classes,
            epsilon=epsilon,
            steps=steps,
            seed=seed,
        )
        for step, found in enumerate(search, start=1):
            if step % _EVERY and step < steps:
                continue
            right, count = hits(self.model, self.images[judge], self.labels[judge], found)
            rates = right / count.clamp(min=1)
            best = int(rates.argmax())
            low, high = wilson(int(right[best]), max(1, int(count[best])))
            self._stand_out("universal", cost_of_rates(right, count))
            self.arrays["universal_rate"] = rates.double().numpy()
            self.arrays["perturbations"] = _rows(0.5 + found / (2 * epsilon))
            self.values |= {
                "universal_success": float(rates[best]),
                "universal_success_low": low,
                "universal_success_high": high,
                "universal_index": float(self._indices["universal"].max()),
            }
            yield step / steps

    def replace_pixels(self, steps: int, seed: int) -> Iterator[float]:
        """Reversed triggers; yields the share that is done."""
        weight = next(self.model.parameters())
        channels, height, width = self.images.shape[1:]
        search = Reversal(self.classes, (channels, height, width), weight)
        while search.step < steps and not bool(search.done.all()):
            rng = step_rng(seed, search.step)
            drawn = torch.randperm(len(self.images), generator=rng)[:BATCH].to(self.labels.device)
            with exact_float32():
                search.advance(self.model, self.images[drawn], self.labels[drawn])
            ended = search.step == steps or bool(search.done.all())
            if search.step % _EVERY and not ended:
                continue
            self._tell(search)
            yield 1.0 if ended else search.step / steps

    def _tell(self, search: Reversal) -> None:
        found = search.triggers()
        sizes = (found.sizes / found.masks[0].numel()).cpu()
        self._stand_out("trigger", sizes)
        index = anomaly(sizes)
        self.arrays |= {
            "masks": to_bytes(found.masks[:, 0]).cpu().numpy(),
            "patterns": _rows(found.patterns),
            "trigger_size": sizes.double().numpy(),
            "trigger_success": found.success.cpu().double().numpy(),
        }
        self.values["anomaly_index"] = float(index.max())
        self.values["smallest_trigger"] = float(sizes.min())


def _error(samples: np.ndarray) -> Any:
    """Standard error of the mean over the first axis; 0 for a single sample."""
    if len(samples) < 2:
        return np.zeros(samples.shape[1:])
    return samples.std(0, ddof=1) / np.sqrt(len(samples))


def _rows(images: Tensor) -> np.ndarray:
    """uint8 (K, H, W, 3)"""
    return to_bytes(images[:, :3].expand(-1, 3, -1, -1)).permute(0, 2, 3, 1).cpu().numpy()
