"""Measures the minima that are compared: every model of the zoo, on training and on test images,
and benign models at every loss on the way there.

One file per model in assets/evidence/minima, with one flat row for each set of weights and kind of
images; `pandas.DataFrame(row for file in files for row in file["rows"])` is the whole table. What
has a row is not measured again. Losses are plain cross-entropy on images without augmentation,
BatchNorm in eval mode; the images are drawn by the same seed for all models, those of training from
the model's own training set, without poison.

A row, None where it was not measured:

    run, seed, attack, data    the training (`attack` is none for a benign model)
    kind          `final`, `checkpoint` (on the way of the training) or `purified`
    method, purification_seed  of a purified model, see `evidence.minima_purified`
    step, steps   after which epoch of the training, or step of the purification, of how many
    images        `train`, `test`, `triggered_true` or `triggered_target`
    n             images that loss, rate and curvature are measured on
    loss, loss_stderr          in nats; the error is over images
    ca, ra, asr   the share of right answers, under the name that it has on these images
    lambda_max, lambda_max_error    of the Hessian; the error is the bound of Lanczos
    trace, trace_stderr             Tr(H); the error is over random vectors
    fisher_trace, fisher_trace_stderr, fisher_trace_images_stderr
                  Tr(F); the errors are over random draws, and over images
    fisher_rao_norm, asam_sharpness, relative_flatness, function_sharpness, filter_lambda_max,
    weight_norm   see `analysis.measures`; with function_sharpness_stderr, filter_lambda_max_error
    input_n, input_lambda_max_mean, ..._median, input_trace_mean, ..._median, each with ..._stderr
                  of the input Hessian, over `input_n` images; see
                  `analysis.measurements.input_curvature`
    num_batches, batch_images, batch_lambda_max_mean, ..._median, each with ..._stderr
                  of the Hessian of each mini-batch; see `analysis.measurements.batch_eigenvalue`
    seconds       of one core

In a network that is piecewise linear in the weights of each layer, as those of the zoo are (ReLU,
BatchNorm in eval mode), Tr(H) = Tr(F): the two columns estimate one number, fisher_trace the more
precisely. For the same reason its Fisher trace and its input Hessian do not depend on the labels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analysis.curvature.fisher import image_traces
from analysis.execute import images_of
from analysis.image_kinds import KINDS
from analysis.measurements.base import Measurement
from analysis.model_under_test import evaluate, frozen_copy
from analysis.result import Value
from evidence.computing import of_zoo
from evidence.shipped import MINIMA, read, write
from evidence.zoo import specs
from ngf.catalogue import build
from ngf.checkpoints.waypoints import waypoint
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, MeasureSpec, TrainSpec
from ngf.environment import environment
from ngf.places import runs_dir
from ngf.runs.folder import steps_at, waypoints
from ngf.runs.store import Store, TrainRun
from ngf.training.run import initial_model

NUM_IMAGES = 1000
KIND_OF = {"train": "train", "test": "clean"}  # a row's images -> as in `analysis.image_kinds`
TRIGGERED = ("triggered_true", "triggered_target")
# Seeds of the benign models on signs whose way is measured, from a quarter of it on: before that
# their loss is beyond that of every final model.
CURVES = range(6)
CERTAIN = 0.02  # relative error that ends the search for the filter-normalized eigenvalue

ERRORS = {  # column -> its error bar
    "loss": "loss_stderr",
    "lambda_max": "lambda_max_error",
    "trace": "trace_stderr",
    "fisher_trace": "fisher_trace_stderr",
    "function_sharpness": "function_sharpness_stderr",
    "filter_lambda_max": "filter_lambda_max_error",
    "input_lambda_max_mean": "input_lambda_max_mean_stderr",
    "input_lambda_max_median": "input_lambda_max_median_stderr",
    "input_trace_mean": "input_trace_mean_stderr",
    "input_trace_median": "input_trace_median_stderr",
    "batch_lambda_max_mean": "batch_lambda_max_mean_stderr",
    "batch_lambda_max_median": "batch_lambda_max_median_stderr",
}
KEYS = (
    *("run", "seed", "attack", "data", "kind", "method", "purification_seed"),
    *("step", "steps", "images"),
)
COLUMNS = (
    *("n", "loss", "loss_stderr", "ca", "ra", "asr"),
    *("lambda_max", "lambda_max_error", "trace", "trace_stderr"),
    *("fisher_trace", "fisher_trace_stderr", "fisher_trace_images_stderr"),
    *("fisher_rao_norm", "asam_sharpness", "relative_flatness", "weight_norm"),
    *("function_sharpness", "function_sharpness_stderr"),
    *("filter_lambda_max", "filter_lambda_max_error"),
    "input_n",
    *("input_lambda_max_mean", "input_lambda_max_mean_stderr"),
    *("input_lambda_max_median", "input_lambda_max_median_stderr"),
    *("input_trace_mean", "input_trace_mean_stderr"),
    *("input_trace_median", "input_trace_median_stderr"),
    *("num_batches", "batch_images"),
    *("batch_lambda_max_mean", "batch_lambda_max_mean_stderr"),
    *("batch_lambda_max_median", "batch_lambda_max_median_stderr"),
    "seconds",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured of one set of weights on one kind of images.

    measurements: name -> its options, beside the number of images.
    fisher_draws: random draws of each image for Tr(F); 0 for none.
    until: the value of the measurement `sharpness` that ends it; what comes later costs more.
    """

    measurements: Mapping[str, Mapping[str, Any]]
    fisher_draws: int = 2
    until: str = "filter_lambda_max"


# Enough for an eigenvalue certified to about 1 %, a Fisher trace to 1 % and a trace to about 6 %.
FINAL = Plan(
    measurements={
        "hessian_spectrum": {"steps": 7, "vectors": 1, "probes": 4},
        "sharpness": {"steps": 12, "draws": 5},
        "input_curvature": {"num_images": 200, "steps": 5, "probes": 2},
        "batch_eigenvalue": {"num_images": 768, "batch": 64, "tolerance": 0.05},
    }
)
CHECKPOINT = Plan(
    measurements={
        "hessian_spectrum": {"steps": 7, "vectors": 1, "probes": 2},
        "sharpness": {"steps": 12, "draws": 5},
    },
    until="function_sharpness",
)
ON_TRIGGERED = Plan(measurements={"input_curvature": {"num_images": 200, "steps": 5, "probes": 2}})
NOTHING = Plan(measurements={}, fisher_draws=0)  # only loss and rate


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Whose weights are measured: the keys of a row, but for its images."""

    run: TrainRun
    kind: str = "final"
    method: str = ""
    purification_seed: int | None = None
    step: int
    steps: int

    def keys(self, images: str) -> dict[str, Any]:
        """The first columns of the row on these images, see `KEYS`."""
        spec = self.run.spec
        return {
            "run": self.run.id,
            "seed": spec.seed,
            "attack": spec.attack.name,
            "data": spec.data,
            "kind": self.kind,
            "method": self.method,
            "purification_seed": self.purification_seed,
            "step": self.step,
            "steps": self.steps,
            "images": images,
        }


class Pictures:
    """The images that rows are measured on, each kind loaded once."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run = store, run_id
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def take(self, images: str, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` images, float (N, C, H, W), and their labels (N,)."""
        if images not in self._known:
            options = {"data": KIND_OF.get(images, images), "num_images": 2 * NUM_IMAGES}
            choice = Choice("hessian_spectrum", options)  # any will do: `data` names the images
            asked = MeasureSpec(target=self._run, measurement=choice)
            self._known[images] = images_of(build("measurements", choice), asked, self._store)
        x, y = self._known[images]
        return x[:count], y[:count]


def row(weights: Weights, model: nn.Module, pictures: Pictures, images: str, plan: Plan) -> dict:
    """One row: the keys of `weights`, and what `plan` measures of `model` on these images."""
    start = time.process_time()
    x, y = pictures.take(images, NUM_IMAGES)
    frozen = frozen_copy(model, x, y)
    reading = evaluate(frozen, x, y)
    found: dict[str, Value] = {
        "n": len(x),
        "loss": reading.loss,
        "loss_stderr": reading.stderr,
        KINDS[KIND_OF.get(images, images)].rate: reading.rate,
    }
    if plan.fisher_draws:
        found |= fisher(frozen, x, plan.fisher_draws)
    for name, options in plan.measurements.items():
        count = options.get("num_images", NUM_IMAGES)
        plugin: Measurement = build("measurements", Choice(name, dict(options)))
        values = stream(plugin, frozen, *pictures.take(images, count), plan.until)
        if name == "input_curvature":
            found["input_n"] = values["n"]
        found |= {key: values[key] for key in COLUMNS if key in values and key not in found}
    found["seconds"] = round(time.process_time() - start, 2)
    return {**weights.keys(images), **{name: found.get(name) for name in COLUMNS}}


def stream(
    plugin: Measurement, model: nn.Module, images: Tensor, labels: Tensor, until: str
) -> Mapping[str, Value]:
    """The last values of a measurement; it ends early once `until` is known well enough."""
    for partial in plugin.measure(model, images, labels, seed=0):
        value = partial.values.get(until)
        if isinstance(value, float):
            error = partial.values.get(ERRORS[until])
            if until == "function_sharpness" or (
                isinstance(error, float) and error <= CERTAIN * abs(value)
            ):
                break
    return partial.values


def fisher(model: nn.Module, images: Tensor, draws: int) -> dict[str, Value]:
    """Tr(F) of a frozen model from `draws` random draws of each image, with its errors; the one
    over draws is None for a single one.
    """
    generator = torch.Generator().manual_seed(0)
    names = [name for name, _ in model.named_parameters()]
    samples = torch.stack(
        [
            torch.as_tensor(image_traces(model, names, images, generator=generator))
            for _ in range(draws)
        ]
    )
    means, each = samples.mean(1), samples.mean(0)
    return {
        "fisher_trace": float(each.mean()),
        "fisher_trace_stderr": float(means.std()) / math.sqrt(draws) if draws > 1 else None,
        "fisher_trace_images_stderr": float(each.std()) / math.sqrt(len(each)),
    }


def rows(
    weights: Weights, model: nn.Module, pictures: Pictures, plans: Mapping[str, Plan]
) -> Iterator[dict[str, Any]]:
    """The row of each kind of images in `plans`. On triggered images the labels change nothing but
    loss and rate (see above), so what both rows share is measured once.
    """
    shared: dict[str, Any] = {}
    for images, plan in plans.items():
        made = row(weights, model, pictures, images, NOTHING if shared else plan)
        own = {name: value for name, value in made.items() if value is not None}
        yield {**made, **shared, **own}
        if images in TRIGGERED and plan is ON_TRIGGERED:
            shared = {
                name: made[name] for name in COLUMNS if name.startswith(("fisher_", "input_"))
            }


def plans_of(kind: str, attack: str) -> dict[str, Plan]:
    """What is measured of a final model or a checkpoint, by images."""
    found = dict.fromkeys(KIND_OF, FINAL if kind == "final" else CHECKPOINT)
    if kind == "final" and attack != "none":
        found |= dict.fromkeys(TRIGGERED, ON_TRIGGERED)
    return found


def on_the_way(run_id: str) -> Path:
    """Where the training of a model of the zoo has kept its weights (see `evidence.zoo`), as long
    as its folder is there.
    """
    return runs_dir() / "zoo-build" / run_id / waypoints()


def planned(spec: TrainSpec) -> list[tuple[str, int, str]]:
    """The rows of one model: (kind, epoch, images). Checkpoints of some benign models only, while
    they are there.
    """
    attack, last = spec.attack.name, spec.training.epochs
    points = [("final", last)]
    if attack == "none" and spec.data == "signs" and spec.seed in CURVES:
        kept = steps_at(on_the_way(spec.id))
        points += [("checkpoint", step) for step in kept if last // 4 <= step < last]
    return [(kind, step, images) for kind, step in points for images in plans_of(kind, attack)]


def todo(spec: TrainSpec) -> list[tuple[str, int, str]]:
    """What of `planned` has no row yet."""
    path = file_of(spec.id)
    done = read(path)["rows"] if path.exists() else []
    known = {(found["kind"], found["step"], found["images"]) for found in done}
    return [key for key in planned(spec) if key not in known]


def file_of(run_id: str) -> Path:
    return MINIMA / f"{run_id}.json"


def missing() -> list[str]:
    return [spec.id for spec in specs() if todo(spec)]


def make(run_id: str) -> None:
    """Complete the file of one model, saved after each set of weights."""
    store = Store()
    run, path = of_zoo(store, run_id), file_of(run_id)
    left: dict[tuple[str, int], list[str]] = {}
    for kind, step, images in todo(run.spec):
        left.setdefault((kind, step), []).append(images)
    pictures, last = Pictures(store, run_id), run.spec.training.epochs
    for (kind, step), wanted in left.items():
        weights = Weights(run=run, kind=kind, step=step, steps=last)
        model = load_model(store, run_id).model if kind == "final" else model_after(run.spec, step)
        plans = plans_of(kind, run.spec.attack.name)
        made = list(rows(weights, model, pictures, {name: plans[name] for name in wanted}))
        save(path, made)
        tell(made)


def model_after(spec: TrainSpec, step: int) -> nn.Module:
    """The model after an epoch of its training."""
    model = initial_model(spec)
    found = waypoint(on_the_way(spec.id), step, spec.training.epochs, model.state_dict())
    model.load_state_dict(dict(found.state))
    return model.eval()


def save(path: Path, made: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a file."""
    before = read(path)["rows"] if path.exists() else []
    write(path, {"rows": [*before, *made], "environment": environment()})


def tell(made: Sequence[Mapping[str, Any]]) -> None:
    for one in made:
        top = one["lambda_max"]
        print(
            f"{one['run']} {one['kind']} {one['method']} step {one['step']}, {one['images']}: "
            f"loss {one['loss']:.4f}"
            + ("" if top is None else f" λmax {top:.1f} ± {one['lambda_max_error']:.1g}")
            + f", {one['seconds']:.0f} s",
            flush=True,
        )
