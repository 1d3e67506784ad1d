"""The measures of sharpness: what each is called, its error bar, which measurement finds it, and
which changes of the weights leave it as it is. One record per measure; pages, charts and claims
read nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

# "Rescaling" always means: the weights change and every prediction stays.
_SINGLE_WEIGHTS = (
    "Every rescaling of single weights by positive factors, such as between two ReLU layers."
)
_FILTERS = "Rescaling of a layer, or of single filters, before BatchNorm."


@dataclass(frozen=True)
class Measure:
    """One number that says how sharp a minimum is, or what it depends on.

    name: its key among the values of a measurement.
    title: what it is called on pages.
    symbol: short form for labels.
    error: key of the value that is its error bar; empty where it is exact.
    unchanged_by: in words, what leaves it as it is.
    invariant: whether it measures sharpness and no rescaling of layers changes it.
    found_by: name of the measurement whose value it is.
    """

    name: str
    title: str
    symbol: str
    error: str
    unchanged_by: str
    invariant: bool
    found_by: str


def _sharpness(
    name: str, title: str, unchanged_by: str, error: str = "", *, invariant: bool = True
) -> Measure:
    return Measure(name, title, title, error, unchanged_by, invariant, "sharpness")


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "lambda_max",
            "Largest Hessian eigenvalue",
            "λmax",
            "lambda_max_error",
            "None: rescaling a layer before BatchNorm by a moves it by up to 1/a².",
            False,
            "hessian_spectrum",
        ),
        Measure(
            "trace",
            "Trace of the Hessian",
            "Tr(H)",
            "trace_stderr",
            "None: rescaling a layer before BatchNorm by a divides that layer's share by a².",
            False,
            "hessian_spectrum",
        ),
        Measure(
            "fisher_trace",
            "Fisher trace, Tr(F)",
            "Tr(F)",
            "fisher_trace_stderr",
            "None: rescaling a layer before BatchNorm by a divides that layer's share by a².",
            False,
            "fisher_trace",
        ),
        _sharpness(
            "filter_lambda_max",
            "Largest eigenvalue, filter-normalized",
            _FILTERS,
            "filter_lambda_max_error",
        ),
        _sharpness("filter_trace", "Trace, filter-normalized", _FILTERS, "filter_trace_stderr"),
        _sharpness(
            "adaptive_lambda_max",
            "Largest eigenvalue, weight-normalized",
            _SINGLE_WEIGHTS,
            "adaptive_lambda_max_error",
        ),
        _sharpness(
            "adaptive_trace", "Trace, weight-normalized", _SINGLE_WEIGHTS, "adaptive_trace_stderr"
        ),
        _sharpness(
            "layer_normalized_trace",
            "Trace, layer-normalized",
            "Rescaling of whole layers, before BatchNorm or between two ReLU layers.",
            "layer_normalized_trace_stderr",
        ),
        _sharpness("asam_sharpness", "Adaptive sharpness (ASAM)", _SINGLE_WEIGHTS),
        _sharpness(
            "fisher_rao_norm",
            "Fisher-Rao norm, squared",
            "Rescaling of a layer before BatchNorm, or of nodes between two ReLU layers.",
        ),
        _sharpness(
            "relative_flatness",
            "Relative flatness of the last layer",
            "Rescaling between the features and the last layer, and all that keeps the features.",
        ),
        _sharpness(
            "function_sharpness",
            "Change of the predictions under relative noise",
            _SINGLE_WEIGHTS,
            "function_sharpness_stderr",
        ),
        _sharpness(
            "weight_norm",
            "Length of the weights",
            "None: it is what rescaling changes.",
            invariant=False,
        ),
        _sharpness(
            "loss",
            "Loss on these images (nats)",
            "Everything that leaves the predictions as they are.",
            "loss_stderr",
            invariant=False,
        ),
    )
}


def found_by(measurement: str) -> list[Measure]:
    """The measures that a measurement finds, in the order of tables."""
    return [measure for measure in MEASURES.values() if measure.found_by == measurement]
