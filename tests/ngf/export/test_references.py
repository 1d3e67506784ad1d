"""BibTeX says what the docstrings say, and no more."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from ngf.catalogue import FOLDERS, names
from ngf.config import Choice, MeasureSpec, PurifySpec, TrainSpec
from ngf.export import references
from ngf.export.references import ATTACKS, DEFENSES, MEASUREMENTS, PAPERS, bibtex, keys_of
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, measured, race_events, write_run


def docstring(module: str) -> str:
    path = Path(find_spec(module).origin)
    return " ".join(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).split())


def specs():
    for name in names("attacks"):
        yield "attacks", name, TrainSpec(attack=Choice(name))
    for name in names("defenses"):
        yield "defenses", name, PurifySpec(parent="x", lanes=(Choice(name),))
    for name in names("measurements"):
        yield "measurements", name, MeasureSpec(target="x", measurement=Choice(name))


@pytest.mark.parametrize(
    ("kind", "name", "spec"), list(specs()), ids=lambda item: item if isinstance(item, str) else ""
)
def test_a_plug_in_cites_what_its_docstring_names(kind, name, spec):
    text = docstring(f"{FOLDERS[kind][0]}.{name}")
    if name in ("ngf", "ngf_as_released"):
        text += docstring("ngf.optim.kfac") + docstring("ngf.defenses.ngf")
    for key in keys_of(spec):
        paper = PAPERS[key]
        assert paper.arxiv in text and paper.venue in text, key
        assert str(paper.year) in text, key
        for author in paper.authors:
            assert author == "others" or author in text, (key, author)
        if "others" in paper.authors:
            assert len(paper.authors) == 2
    if re.match(r".{0,80}\(?[A-Z]\w+.* (19|20)\d\d, arXiv", text[:160]) and kind == "attacks":
        assert keys_of(spec), f"{name} names a paper and cites none"


def test_every_paper_is_somebodys():
    used = {key for _, _, spec in specs() for key in keys_of(spec)}
    assert used == set(PAPERS)
    for known, kind in (
        (ATTACKS, "attacks"),
        (DEFENSES, "defenses"),
        (MEASUREMENTS, "measurements"),
    ):
        assert set(known) <= set(names(kind))
    numbers = [paper.arxiv for paper in PAPERS.values() if paper.arxiv]
    assert len(numbers) == len(set(numbers))
    source = Path(references.__file__).read_text(encoding="utf-8")
    assert "doi =" not in source and "pages" not in source.split("PAPERS")[1]


def entries(text: str) -> dict[str, dict[str, str]]:
    found = {}
    for kind, key, body in re.findall(r"^@(\w+)\{(\w+),\n(.*?)\n\}$", text, re.M | re.S):
        fields = dict(re.findall(r"^  (\w+) += \{(.*)\},$", body, re.M))
        assert len(fields) == body.count("\n") + 1, body
        found[key] = {"kind": kind, **fields}
    assert len(found) == text.count("@")
    return found


def test_a_run_cites_all_that_is_behind_it(tmp_path):
    store = Store(tmp_path)
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    write_run(tmp_path, RACE, race_events(), done=True)
    spec = measured(store, "loss_slice", f"{RACE.id}:ngf", {}, {})
    found = entries(bibtex(store.get(spec.id)))
    assert list(found) == ["ngf", "filter_normalization", "kfac", "badnets"]
    assert found["ngf"] == {
        "kind": "misc",
        "title": "{Efficient Backdoor Removal Through Natural Gradient Fine-tuning}",
        "author": "Karim and others",
        "year": "2023",
        "eprint": "2306.17441",
        "archivePrefix": "arXiv",
    }
    race = entries(bibtex(store.get(RACE.id), [store.get(spec.id)]))
    assert set(race) == set(found)


def test_braces_are_balanced():
    for key, paper in PAPERS.items():
        text = paper.bibtex(key)
        assert text.count("{") == text.count("}")
        assert "&" not in text and "%" not in text and "_" not in paper.title


def test_a_run_in_progress_says_so(tmp_path):
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    write_run(tmp_path, RACE, race_events(40))
    assert "partial: the run is queued" in bibtex(Store(tmp_path).get(RACE.id))
