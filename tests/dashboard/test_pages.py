"""Every page, run by Streamlit's own test driver: on an empty store, on the zoo, and under
bad links.
"""

from __future__ import annotations

import symtable
from collections.abc import Iterator

import pytest

from dashboard.kit.pages import pages, script
from tests.helpers.pages import text

PAGES = tuple(pages())
HOSTILE = {
    "start": {"run": "x", "a" * 500: "b" * 5000},
    "lab": {
        "attack": "<script>alert(1)</script>",
        "seed": "99999999999999999999",
        "run": "../../etc/passwd",
        "lane": ["ngf:steps=-4", "nothing", "ngf:nothing=1", "sgd:steps"],
        "view": "fly",
        "bogus": "1",
        "num_clean": "NaN",
        "model": "none-such",
        "data": "",
        "race_seed": "1e400",
    },
    "attacks": {"attack": ["<script>alert(1)</script>", "badnet"], "kind": "](x)"},
    "studio": {
        "drawing": "](" * 900,
        "model": "none-such",
        "row": "-1",
        "alpha": "1e9",
        "target": "x",
    },
    "geometry": {"run": "none-such", "lane": "sgd-99", "images": "all", "seed": "-1"},
    "compare": {
        "runs": "](x),<script>alert(1)</script>,none-such:ngf",
        "by": "<b>",
        "mean": "7",
        "first": "](x)",
        "attack": "=1+1",
    },
    "sweeps": {
        "view": "fly",
        "build": "{](x)<script>alert(1)</script>",
        "sweep": "sweep-0123456789",
        "x": "<b>",
        "y": "](x)",
        "at": ["seed=x", "](x)=1"],
    },
    "runs": {"kind": ["train", "dance"], "status": "glowing", "attack": "=1+1", "run": "none-such"},
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_on_an_empty_store(open_page, empty, name):
    page = open_page(name)
    assert len(page.title) == 1
    assert "is not there" in text(page) or "yet" in text(page)


def within(table: symtable.SymbolTable) -> Iterator[symtable.Function]:
    """A function and all functions inside it."""
    if isinstance(table, symtable.Function):
        yield table
    for child in table.get_children():
        yield from within(child)


@pytest.mark.parametrize("name", PAGES)
def test_functions_of_a_page_read_nothing_that_its_script_assigns(name):
    """They are told what they need. Constants and imported names are there for all."""
    text_of_it = script(name).read_text(encoding="utf-8")
    table = symtable.symtable(text_of_it, f"{name}/page.py", "exec")
    assigned = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() and symbol.get_name().islower() and not symbol.is_namespace()
    }
    # The script's own lambdas and comprehensions run where they stand.
    inline = ("lambda", "listcomp", "setcomp", "dictcomp", "genexpr")
    wrong = {
        function.get_name(): sorted(assigned & set(inner.get_globals()))
        for function in table.get_children()
        if function.get_name() not in inline
        for inner in within(function)
        if assigned & set(inner.get_globals())
    }
    assert wrong == {}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_on_the_zoo(open_page, store, name):
    assert any(store.zoo.iterdir()), "assets/zoo is empty: run `python -m evidence zoo`"
    page = open_page(name)
    assert len(page.title) == 1
    assert not page.error


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("which", ["empty", "store"])
def test_a_bad_link_opens_on_defaults_and_says_what_it_ignored(open_page, request, which, name):
    where = request.getfixturevalue(which)
    page = open_page(name, **HOSTILE.get(name, {"bogus": "1"}))
    said = text(page)
    assert "could not be used" in said
    assert (
        "<script>" not in said and "](" not in said.split("could not be used")[1].split("\n\n")[0]
    )
    assert [run for run in where.runs() if run.source == "user"] == [], (
        "a link must never start a run"
    )
