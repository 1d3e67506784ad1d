"""Trigger studio: paint a trigger, see what it does to a model, train a model with it."""

from dashboard.kit.pages import RUN, Page, Param
from ngf.attacks.shared.drawing import LONGEST

PAGE = Page(
    title="Trigger studio",
    icon=":material/brush:",
    order=4,
    about=(
        "Paint a trigger of your own, see what a model makes of it, and train one that obeys it."
    ),
    parameters={  # the defaults are those of the attack `drawn`; shares are in percent
        "model": RUN,
        "drawing": Param(pattern=r"[\w\-]+", longest=LONGEST),
        "row": Param(22, ge=0, le=1023),
        "column": Param(22, ge=0, le=1023),
        "scale": Param(1, ge=1, le=64),
        "alpha": Param(100, ge=1, le=100),
        "target": Param(1, ge=0, le=999),
        "poison": Param(10, ge=1, le=90),
    },
)
