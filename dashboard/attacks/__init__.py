"""Attacks: every way of hiding a backdoor that this version knows, with its picture."""

from dashboard.kit.pages import Page, Param

# kind of attack -> what the attacker must be able to do
KINDS = {
    "poisoning": "Data poisoning",
    "clean-label": "Clean-label poisoning",
    "prepared": "Trigger learned before training",
    "controlled": "Controls the training",
}
PAGE = Page(
    title="Attacks",
    icon=":material/collections:",
    order=3,
    about=(
        "Every way of hiding a backdoor, with its picture, its source, and what it did to our "
        "models."
    ),
    parameters={
        "attack": Param((), many=True),
        "kind": Param((), choices=tuple(KINDS), many=True),
    },
)
