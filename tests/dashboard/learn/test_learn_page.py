"""The lessons on the page: asked first, answered after a guess, with numbers that were measured."""

from __future__ import annotations

import json

import pytest

from dashboard.learn import STEPS
from dashboard.learn.lesson import files, parse
from ngf import places
from tests.helpers.pages import button, checked, text

SHIPPED = [parse(path.read_text(encoding="utf-8"), path.name) for path in files()]


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_step_asks_first_and_answers_after_a_guess(open_page, store, step):
    page = open_page("learn", step=str(step))
    lesson = SHIPPED[step - 1]
    assert page.header[0].value == f"{step}. {lesson.title}"
    first = lesson.reveal.split("{")[0].split("\n")[0][:40]
    assert first not in text(page)
    wrong = (lesson.right + 1) % len(lesson.answers)
    checked(page.radio(key=f"learn.guess.{step}").set_value(wrong).run())
    said = text(page)
    assert first in said and "It is another one:" in said
    assert "–," not in said and " – of" not in said, "every number was measured"
    checked(page.radio(key=f"learn.guess.{step}").set_value(lesson.right).run())
    assert "That is it." in text(page)


def test_numbers_are_those_of_the_files(open_page, store):
    found = json.loads((places.ASSETS / "evidence" / "equal_steps.json").read_text())
    page = open_page("learn", step="4")
    checked(page.radio(key="learn.guess.4").set_value(0).run())
    assert f"{max(found['kl_of_weights']):.2g} nats" in text(page)


def test_next_leads_to_the_next_and_the_address_follows(open_page, store):
    page = open_page("learn")
    assert button(page, "learn.back").disabled
    checked(button(page, "learn.next").click().run())
    assert page.header[0].value.startswith("2. ")
    assert page.query_params["step"] in ("2", ["2"])


def test_a_damaged_lesson_says_what_is_wrong(open_page, store, tmp_path, monkeypatch):
    folder = tmp_path / "assets" / "lessons"
    folder.mkdir(parents=True)
    (folder / "1.md").write_text("No title.", encoding="utf-8")
    monkeypatch.setattr("ngf.places.ASSETS", tmp_path / "assets")
    assert "does not begin with a title" in open_page("learn").error[0].value
    assert "is not there" in open_page("learn", step="2").info[0].value


def test_a_presenter_has_the_question_and_the_picture_alone(open_page, store):
    page = open_page("learn", step="2", view="present")
    lesson = SHIPPED[1]
    assert not page.title and page.header[0].value == f"2. {lesson.title}"
    assert lesson.text[:40] not in text(page)
    checked(page.radio(key="learn.guess.2").set_value(lesson.right).run())
    assert "That is it." in text(page) and lesson.reveal[:30] not in text(page)
    checked(button(page, "learn.next").click().run())
    assert page.query_params["step"] == "3" and page.query_params["view"] == "present"


def test_the_handout_has_all_steps_with_their_answers(open_page, store):
    page = open_page("learn", view="handout")
    assert [item.value for item in page.header] == [
        f"{place}. {lesson.title}" for place, lesson in enumerate(SHIPPED, start=1)
    ]
    said = text(page)
    assert said.count("✓") == STEPS and not page.radio
    assert "–," not in said and " – of" not in said, "every number was measured"
