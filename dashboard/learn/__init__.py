"""Learn: the argument in five steps, each of which asks first."""

from dashboard.kit.pages import Page, Param

STEPS = 5

PAGE = Page(
    title="Learn",
    icon=":material/school:",
    order=1,
    about="The argument in ten minutes: guess first, then see it, then try it.",
    parameters={
        "step": Param(1, ge=1, le=STEPS),
        "view": Param("", choices=("", "present", "handout")),
    },
)
