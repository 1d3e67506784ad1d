"""Runs: everything that was computed here and everything that ships with the project."""

from dashboard.kit.pages import RUN, Page, Param
from ngf.runs.folder import STATUSES

PAGE = Page(
    title="Runs",
    icon=":material/list:",
    order=8,
    about="Everything that was computed here, and what ships with the project.",
    parameters={
        "kind": Param((), choices=("train", "purify", "measure"), many=True),
        "attack": Param((), many=True),
        "defense": Param((), many=True),
        "status": Param(
            (),
            choices=STATUSES,
            many=True,
        ),
        "sweep": Param((), many=True),
        "source": Param((), choices=("user", "zoo"), many=True),
        "run": RUN,
    },
)
