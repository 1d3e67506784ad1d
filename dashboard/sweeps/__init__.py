"""Sweeps: every combination of some axes, built, followed and drawn while it runs."""

from dashboard.kit.pages import Page, Param

AXIS = r"[\w.\- ]+"  # a path in the JSON of a run, such as `parent.attack.poison_rate`

PAGE = Page(
    title="Sweeps",
    icon=":material/grid_on:",
    order=7,
    about="Every combination of some settings: asked for at once, drawn while it runs.",
    parameters={
        "view": Param("build", choices=("build", "follow")),
        # the sweep of the form, as JSON
        "build": Param(pattern=r"[\s\S]+", longest=6000),
        "sweep": Param(pattern=r"sweep-[0-9a-f]+"),
        "x": Param(pattern=AXIS),
        "y": Param(pattern=r"\w+"),
        "color": Param(pattern=AXIS),
        "panel": Param(pattern=AXIS),
        "over": Param((), pattern=AXIS, many=True),
        "at": Param((), pattern=AXIS + r"=\d+", many=True),
    },
)
