"""Compare: runs side by side on one axis, seeds averaged, differences with intervals."""

from collections.abc import Mapping

from dashboard.kit.pages import Page, Param

FIELDS: Mapping[str, str] = {
    "method": "Method",
    "attack": "Attack",
    "data": "Data",
    "network": "Network",
    "model_seed": "Model seed",
    "seed": "Purification seed",
    "layer": "Layer",
    "rate": "Learning rate or radius",
    "num_clean": "Clean images",
}

TEXT = r"[\w.,:\- ]+"  # values of fields: names, layers, numbers

PAGE = Page(
    title="Compare",
    icon=":material/compare_arrows:",
    order=6,
    about="Put runs on one axis: methods, attacks or seeds, with means, intervals and differences.",
    parameters={
        # what is ticked, `run` or `run:lane`, with commas between; checked name by name
        "runs": Param((), pattern=r"[\s\S]+", many=True, longest=5000),
        "by": Param("method", choices=tuple(FIELDS)),
        "rate": Param((), choices=("asr", "ca", "ra"), many=True),
        "mean": Param(0, ge=0, le=1),
        "first": Param(pattern=TEXT),
        "second": Param(pattern=TEXT),
        "attack": Param((), many=True),
        "defense": Param((), many=True),
        "data": Param((), many=True),
        "seed": Param((), pattern=r"\d+", many=True),
        "source": Param((), choices=("user", "shipped", "zoo"), many=True),
    },
)
