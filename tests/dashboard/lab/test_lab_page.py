"""The Lab: links, choices, and the buttons that start, pause and stop runs."""

from __future__ import annotations

from dashboard.kit.pages import SEED_MAX
from ngf.runs.store import MeasureRun, Run, follows
from ngf.runs.supervisor import slot_of
from tests.helpers.pages import button, checked, text


def own(store) -> list[Run]:
    """The visitor's runs, but for what is measured along their way."""
    return [run for run in store.runs() if run.source == "user" and not isinstance(run, MeasureRun)]


def test_a_link_lists_what_is_allowed_and_clamps(open_page, store):
    page = open_page("lab", attack="badnet", race_seed="99999999999", lane=["ngf:steps=-4"])
    said = text(page)
    assert "Allowed: " in said and "badnets" in said
    assert f"was set to {SEED_MAX}" in said
    assert "ngf.steps = -4 is out of range" in said


def test_the_notice_stays_while_choices_are_made_and_goes_with_a_new_link(open_page, store):
    page = open_page("lab", attack="badnet")
    page.number_input(key="lab.race_seed").set_value(3).run()
    assert "could not be used" in text(page)


def test_start_button_makes_one_run_however_often_it_is_clicked(open_page, store):
    page = open_page("lab", race_seed="77", lane=["ngf:steps=5", "sgd:steps=5"])
    assert store.runs() and all(run.source == "zoo" for run in store.runs())
    first = button(page, "lab.start")
    checked(first.click().run())
    mine = own(store)
    assert [run.spec.kind for run in mine] == ["purify"]
    assert mine[0].spec.lane_names() == ("ngf", "sgd") and mine[0].spec.seed == 77
    assert mine[0].status == "queued"
    assert page.query_params["run"] == mine[0].id
    checked(
        page.run()
    )  # a second click reaches this script: there is no second button, and no second run
    again = open_page("lab", race_seed="77", lane=["ngf:steps=5", "sgd:steps=5"])
    assert again.query_params["run"] == mine[0].id
    assert len(own(store)) == 1


def test_a_link_to_a_run_brings_its_choices_back(open_page, store):
    page = open_page("lab", attack="blend", race_seed="5", lane=["sgd:steps=7"], num_clean="100")
    checked(button(page, "lab.start").click().run())
    run_id = page.query_params["run"]
    other = open_page("lab", run=run_id)
    assert other.multiselect(key="lab.lanes").value == ["sgd"]
    assert other.number_input(key="lab.lane.sgd.steps").value == 7
    assert other.number_input(key="lab.num_clean").value == 100
    assert other.number_input(key="lab.race_seed").value == 5
    assert other.query_params["run"] == run_id


def test_choices_are_in_the_address_and_a_new_page_has_them(open_page, store):
    page = open_page("lab")
    page.number_input(key="lab.num_clean").set_value(200).run()
    page.multiselect(key="lab.lanes").set_value(["ngf"]).run()
    found = {name: page.query_params[name] for name in page.query_params}
    other = open_page("lab", **found)
    assert other.number_input(key="lab.num_clean").value == 200
    assert other.multiselect(key="lab.lanes").value == ["ngf"]


def test_no_defense_is_an_error_in_words_and_nothing_is_lost(open_page, store):
    page = open_page("lab")
    page.number_input(key="lab.num_clean").set_value(200).run()
    checked(page.multiselect(key="lab.lanes").set_value([]).run())
    assert "Choose at least one defense." in [item.value for item in page.error]
    assert page.number_input(key="lab.num_clean").value == 200


def test_pause_resume_and_stop_write_what_they_say(open_page, store):
    page = open_page("lab", race_seed="78")
    checked(button(page, "lab.start").click().run())
    run = own(store)[0]
    checked(button(page, f"pause.{run.id}").click().run())
    assert run.status == "paused"
    checked(button(page, f"resume.{run.id}").click().run())
    assert run.status == "queued"
    checked(button(page, f"cancel.{run.id}").click().run())
    assert run.status == "cancelled"
    assert "Stopped" in text(page)


def test_training_your_own_makes_a_training(open_page, store):
    page = open_page("lab", view="train")
    page.number_input(key="lab.training.epochs").set_value(1).run()
    checked(button(page, "lab.start").click().run())
    mine = [run.spec for run in own(store)]
    assert [spec.kind for spec in mine] == ["train"] and mine[0].training.epochs == 1
    assert page.query_params["view"] == "train"


def test_links_lead_to_the_lab_with_the_attack_chosen(open_page, store):
    page = open_page("lab", view="train", attack="wanet")
    assert page.selectbox(key="lab.train.attacks").value == "wanet"
    assert "could not be used" not in text(page)
    page = open_page("lab", attack="wanet", data="signs")
    assert page.selectbox(key="lab.attack").value == "wanet"


def test_an_attack_that_its_options_speak_against_cannot_be_started(open_page, store):
    page = open_page("lab", view="train", attack="sig")
    page.number_input(key="lab.attack_form.sig.frequency").set_value(16).run()
    checked(page.number_input(key="lab.train.seed").set_value(77).run())
    assert "zero in every one of 32 columns" in text(page)
    assert button(page, "lab.start").disabled
    checked(page.number_input(key="lab.attack_form.sig.frequency").set_value(15).run())
    assert not button(page, "lab.start").disabled


def test_a_race_that_goes_on_stays_when_a_choice_changes(open_page, store):
    page = open_page("lab", race_seed="77", lane=["sgd:steps=5"])
    checked(button(page, "lab.start").click().run())
    run = own(store)[0]
    checked(page.number_input(key="lab.num_clean").set_value(200).run())
    assert "Next race" in text(page)
    assert button(page, f"pause.{run.id}") and page.query_params["run"] == run.id
    checked(page.selectbox(key="lab.attack").set_value("blend").run())
    assert button(page, f"pause.{run.id}"), "of another model too, while it goes on"
    checked(page.selectbox(key="lab.attack").set_value("badnets").run())
    run.control("cancel")
    checked(page.run())
    assert "Stopped" in text(page) and "Next race" in text(page), "nor does its end hide it"
    checked(button(page, "lab.start").click().run())
    (other,) = [item for item in own(store) if item.id != run.id]
    assert other.spec.num_clean == 200 and page.query_params["run"] == other.id
    assert button(page, f"pause.{other.id}") and "Next race" not in text(page)


def test_choices_that_were_run_before_are_shown_on_a_press_while_a_race_goes_on(open_page, store):
    page = open_page("lab", race_seed="77", lane=["sgd:steps=5"])
    checked(button(page, "lab.start").click().run())
    first = page.query_params["run"]
    checked(page.number_input(key="lab.race_seed").set_value(78).run())
    checked(button(page, "lab.start").click().run())
    assert page.query_params["run"] != first
    checked(page.number_input(key="lab.race_seed").set_value(77).run())
    assert page.query_params["run"] != first
    checked(button(page, "lab.show").click().run())
    assert page.query_params["run"] == first and "Next race" not in text(page)


def test_without_a_race_of_ones_own_the_one_that_ships_is_there(open_page, store):
    page = open_page("lab")
    assert "Recorded" in text(page) and "Press Start" in text(page)
    assert "run" not in page.query_params


def test_curvature_follows_a_race_unless_it_is_switched_off(open_page, store):
    page = open_page("lab", race_seed="77", lane=["sgd:steps=5"])
    checked(page.toggle(key="lab.curvature").set_value(False).run())
    checked(button(page, "lab.start").click().run())
    assert not [run for run in store.runs() if run.spec.kind == "measure"]
    page = open_page("lab", race_seed="78", lane=["sgd:steps=5"])
    checked(button(page, "lab.start").click().run())
    (measured,) = [run for run in store.runs() if run.spec.kind == "measure"]
    assert measured.spec.target == f"{page.query_params['run']}:sgd"
    assert follows(measured.spec) and slot_of(measured.spec) == "live"
    assert not measured.is_ready(), "the race has not begun"
    assert "measured with what is left of the machine" in text(page)


def test_a_form_is_filled_in_with_the_papers_budget_and_with_defaults_again(open_page, store):
    page = open_page("lab", lane=["anp:steps=7", "gradient_kl"])
    assert "Paper's budget: github" in text(page)
    assert not [item for item in page.button if item.key == "lab.paper.gradient_kl"]
    checked(button(page, "lab.paper.anp").click().run())
    assert page.number_input(key="lab.lane.anp.steps").value == 2000
    assert "anp:steps=2000" in page.query_params["lane"][0]
    checked(button(page, "lab.defaults.anp").click().run())
    assert page.number_input(key="lab.lane.anp.steps").value == 100
    assert page.query_params["lane"][0] == "anp"
