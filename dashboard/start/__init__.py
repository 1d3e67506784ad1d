"""Start: the story in three short steps, told by a recorded real race."""

from dashboard.kit.pages import Page

PAGE = Page(title="Start", icon=":material/home:", order=0)
