"""My model: bring a model of your own with a few clean images, check it, clean it, take it home."""

from dashboard.kit.pages import RUN, Page

PAGE = Page(
    title="My model",
    icon=":material/shield_person:",
    order=5,
    about="Is mine clean? Bring a model and a few clean images, check it, clean it, take it home.",
    parameters={"run": RUN},
)
