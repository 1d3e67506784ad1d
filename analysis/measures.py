"""What the measures of sharpness are called, and which changes of the weights leave each as
it is. No torch.
"""

from __future__ import annotations

TITLES = {
    "lambda_max": "Largest Hessian eigenvalue",
    "trace": "Trace of the Hessian",
    "filter_lambda_max": "Largest eigenvalue, filter-normalized",
    "filter_trace": "Trace, filter-normalized",
    "adaptive_lambda_max": "Largest eigenvalue, weight-normalized",
    "adaptive_trace": "Trace, weight-normalized",
    "layer_normalized_trace": "Trace, layer-normalized",
    "asam_sharpness": "Adaptive sharpness (ASAM)",
    "fisher_rao_norm": "Fisher-Rao norm, squared",
    "relative_flatness": "Relative flatness of the last layer",
    "function_sharpness": "Change of the predictions under relative noise",
    "weight_norm": "Length of the weights",
}

# "Rescaling" always means: the weights change and every prediction stays.
INVARIANCE = {
    "lambda_max": "None: rescaling a layer before BatchNorm by a moves it by up to 1/a².",
    "trace": "None: rescaling a layer before BatchNorm by a divides that layer's share by a².",
    "filter_lambda_max": "Rescaling of a layer, or of single filters, before BatchNorm.",
    "filter_trace": "Rescaling of a layer, or of single filters, before BatchNorm.",
    "adaptive_lambda_max": (
        "Every rescaling of single weights by positive factors, such as between two ReLU layers."
    ),
    "adaptive_trace": (
        "Every rescaling of single weights by positive factors, such as between two ReLU layers."
    ),
    "layer_normalized_trace": (
        "Rescaling of whole layers, before BatchNorm or between two ReLU layers."
    ),
    "asam_sharpness": (
        "Every rescaling of single weights by positive factors, such as between two ReLU layers."
    ),
    "fisher_rao_norm": (
        "Rescaling of a layer before BatchNorm, or of nodes between two ReLU layers."
    ),
    "relative_flatness": (
        "Rescaling between the features and the last layer, and all that keeps the features."
    ),
    "function_sharpness": (
        "Every rescaling of single weights by positive factors, such as between two ReLU layers."
    ),
    "weight_norm": "None: it is what rescaling changes.",
}
