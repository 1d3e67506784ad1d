"""The budgets of papers: each can be asked for, and no number of one is made up."""

from __future__ import annotations

import inspect
import re
import sys

import pytest

from ngf.__main__ import BAD_INPUT, OK, main
from ngf.catalogue import build, catalogue, load, names
from ngf.config import Choice
from ngf.options import SpecError
from ngf.places import ASSETS
from ngf.presets import with_papers_budget
from ngf.runs.store import Store

WITH = [name for name in names("defenses") if hasattr(load("defenses", name), "paper")]
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


@pytest.mark.parametrize("name", WITH)
def test_a_budget_can_be_asked_for_and_says_whose_it_is(name):
    budget = load("defenses", name).paper
    made = build("defenses", with_papers_budget(Choice(name)))
    assert {key: getattr(made, key) for key in budget.options} == budget.options
    assert budget.source.endswith(".") and catalogue()["defenses"][name]["paper"] == {
        "source": budget.source,
        "options": budget.options,
    }


@pytest.mark.parametrize("name", WITH)
def test_every_number_of_a_budget_is_in_its_source_or_the_plug_ins_words(name):
    cls = load("defenses", name)
    words = f"{inspect.getdoc(sys.modules[cls.__module__])} {cls.paper.source}"
    told = {float(found.replace(",", "").rstrip(".")) for found in _NUMBER.findall(words)}
    words_for = {"one": 1, "two": 2, "three": 3, "half": 0.5}
    told |= {value for word, value in words_for.items() if re.search(rf"\b{word}\b", words)}
    made_up = {
        key: value
        for key, value in cls.paper.options.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value not in told
    }
    assert made_up == {}


def test_settings_of_a_lane_go_before_those_of_its_paper():
    lane = with_papers_budget(Choice("anp", {"steps": 7}))
    assert (lane.options["steps"], lane.options["eps"]) == (7, 0.4)


def test_where_no_budget_is_known_those_that_have_one_are_named():
    assert not hasattr(load("defenses", "gradient_kl"), "paper")
    with pytest.raises(SpecError, match=r"gradient_kl\. Known for: anp, awm"):
        with_papers_budget(Choice("gradient_kl"))


def test_the_command_line_takes_it_and_puts_settings_on_top(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    model = next(path.name for path in (ASSETS / "zoo").glob("signs-badnets-s0-*"))
    words = ["purify", model, "--paper", "--detach", "--defense"]
    assert main([*words, "anp", "--defense", "sgd", "--set", "anp.steps=7"]) == OK
    (run,) = (run for run in Store().runs() if run.source == "user")
    anp, sgd = run.spec.lanes
    assert anp.options["steps"] == 7 and sgd.options["steps"] == 1000
    assert sgd.options["weight_decay"] == 5e-4
    capsys.readouterr()
    assert main([*words, "adam"]) == BAD_INPUT
    assert "No budget of a paper is known for adam" in capsys.readouterr().err
