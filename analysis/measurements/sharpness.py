"""Measures of sharpness that do not change when the weights are rescaled and the predictions stay.

lambda_max and the trace of the Hessian depend on the scale of the weights, which BatchNorm and ReLU
make arbitrary (Dinh et al. 2017, arXiv 1703.04933). Here, each with its source: eigenvalue and
trace of D H D with D the length of filters (Li et al. 2018, arXiv 1712.09913) or the size of each
weight (Kwon et al. 2021, ASAM, arXiv 2102.11600, to second order); ASAM's loss increase; sum_l
|w_l|^2 Tr H_ll (Tsuzuku et al. 2020, arXiv 1901.04653); theta^T F theta (Liang et al. 2019, arXiv
1711.01530); relative flatness (Petzka et al. 2021, arXiv 2001.00939); and the divergence of the
predictions under noise in proportion to the weights. Whether any of them tells how well a model
generalizes is disputed (Andriushchenko et al. 2023, arXiv 2302.07011).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from analysis.curvature.fisher import standard_error
from analysis.curvature.gradients import mean_gradient, predictions
from analysis.curvature.krylov_pass import krylov_pass
from analysis.curvature.last_layer import LastLayer
from analysis.curvature.operators import Hessian, Scaled, fisher_rao_norm
from analysis.curvature.rescale import scaling
from analysis.landscape.directions import State, from_flat, move, put
from analysis.measurements.base import Measurement
from analysis.measures import found_by
from analysis.model_under_test import evaluate, frozen_copy, parameters_of
from analysis.result import Partial, Value
from ngf.environment import wide
from ngf.options import option

# value -> the value that is its error bar
ERRORS = {
    measure.name: measure.error or None
    for measure in found_by("sharpness")
    if measure.name != "loss"  # known at once
}
_CHEAP = 0.1  # share of the progress bar for what needs no Hessian


@dataclass(frozen=True, kw_only=True)
class Sharpness(Measurement):
    """How sharp the loss is, by measures that survive a rescaling of the weights.

    Values, None until they are known:
        the keys of `ERRORS`, and their error bars: of eigenvalues a bound, of random estimates one
            standard error. relative_flatness stays None if the model does not end in a linear
            layer.
        loss, loss_stderr: in nats; the error is over images.
        ca: share of right answers.
        rate: what `ca` is called on these images.
        num_parameters: of the measured layers.
        num_hvps: Hessian-vector products so far.
        note: only if memory ran out.

    Arrays, of the measures that are known so far:
        measure: (K,), their names.
        value, error: (K,), where the error is 0 for exact ones.
    """

    title: ClassVar[str] = "Sharpness that survives rescaling"

    steps: int = option(12, "Lanczos steps for each eigenvalue.", unit="products", ge=1, le=500)
    probes: int = option(10, "Random vectors for each trace.", unit="products", ge=2, le=1000)
    rho: float = option(0.5, "Radius of the ASAM step, relative to the weights.", ge=1e-6, le=100.0)
    sigma: float = option(
        0.01, "Standard deviation of the noise, as a share of each weight.", ge=1e-5, le=1.0
    )
    draws: int = option(10, "Draws of the noise.", unit="draws", ge=2, le=10_000)

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each measure, and after each product of the
        last ones.
        """
        stamp = self.stamp(images, seed)
        generator = Generator().manual_seed(seed)
        frozen = frozen_copy(model, images, labels)
        names = parameters_of(frozen, self.layers)
        parameters = {name: frozen.get_parameter(name).detach().clone() for name in names}
        theta = torch.cat([p.reshape(-1) for p in parameters.values()])
        loss, loss_stderr, ca = evaluate(frozen, images, labels)
        last = LastLayer.of(frozen, images)
        values: dict[str, Value] = {key: None for pair in ERRORS.items() for key in pair if key}
        values |= {
            "loss": loss,
            "loss_stderr": loss_stderr if len(images) > 1 else None,
            "ca": ca,
            "rate": self.rate,
            "num_parameters": len(theta),
            "num_hvps": 0,
            "weight_norm": float(theta.to(wide(theta)).norm()),
            "relative_flatness": last.relative_flatness() if last else None,
        }

        def partial(fraction: float, done: bool = False) -> Partial:
            return Partial(
                values={**values, **stamp()}, arrays=_table(values), fraction=fraction, done=done
            )

        yield partial(_CHEAP / 4)
        values["fisher_rao_norm"] = fisher_rao_norm(frozen, images, labels, names)
        yield partial(_CHEAP / 2)
        values["asam_sharpness"] = self._ascend(frozen, parameters, theta, images, labels) - loss
        yield partial(_CHEAP * 3 / 4)
        values["function_sharpness"], values["function_sharpness_stderr"] = self._shake(
            frozen, parameters, theta, images, generator
        )
        yield partial(_CHEAP)
        hessian, products = Hessian(frozen, images, labels, names=names), 0
        for k, (kind, title) in enumerate(
            (("filter", "filter"), ("adaptive", "adaptive"), ("layer", "layer_normalized"))
        ):
            scaled = Scaled(hessian, scaling(parameters, kind))
            for known in krylov_pass(scaled, generator, steps=self.steps, probes=self.probes):
                found = {f"{title}_{key}": value for key, value in known.values().items()}
                values |= {key: found[key] for key in values if key in found}
                values["num_hvps"] = products + known.products
                if hessian.note:
                    values["note"] = hessian.note
                share = (k + known.fraction) / 3
                done = k == 2 and known.done
                yield partial(1.0 if done else _CHEAP + (1 - _CHEAP) * share, done)
            products += known.products

    def _ascend(
        self,
        model: nn.Module,
        parameters: State,
        theta: Tensor,
        images: Tensor,
        labels: Tensor,
    ) -> float:
        """Loss at theta + rho T^2 g / |T g|, T = |theta|: the step that ASAM takes. The model is
        left as it was.
        """
        gradient = mean_gradient(model, parameters, images, labels)
        length = torch.linalg.vector_norm(theta * gradient)
        step = (
            self.rho * theta.square() * gradient / length if length > 0 else torch.zeros_like(theta)
        )
        move(model, parameters, from_flat(step, parameters))
        found = evaluate(model, images, labels)[0]
        put(model.state_dict(), parameters)
        return found

    def _shake(
        self,
        model: nn.Module,
        parameters: State,
        theta: Tensor,
        images: Tensor,
        generator: Generator,
    ) -> tuple[float, float]:
        """E KL(p_theta || p_{theta + sigma |theta| eps}), eps Gaussian, in nats, and its standard
        error over draws.

        To second order sigma^2 / 2 times the trace of D F D with D = |theta|.
        """
        dtype = wide(images)
        before = predictions(model, images).to(dtype).log_softmax(1)
        samples = []
        for _ in range(self.draws):
            noise = (
                torch.randn(len(theta), generator=generator, dtype=torch.float64)
                .to(theta.dtype)
                .to(theta.device)
            )
            move(model, parameters, from_flat(self.sigma * theta.abs() * noise, parameters))
            after = predictions(model, images).to(dtype).log_softmax(1)
            samples.append(float((before.exp() * (before - after)).sum(1).mean()))
        put(model.state_dict(), parameters)
        return float(np.mean(samples)), float(standard_error(np.array(samples)))


def _table(values: dict[str, Value]) -> dict[str, np.ndarray]:
    known = [name for name in ERRORS if values[name] is not None]
    errors = [values.get(ERRORS[name] or "") or 0.0 for name in known]
    return {
        "measure": np.array(known),
        "value": np.array([values[name] for name in known], dtype=float),
        "error": np.array(errors, dtype=float),
    }
