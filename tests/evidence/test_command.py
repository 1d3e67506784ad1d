"""`python -m evidence`: steps in order, stopped by a failure, resumed by the same command."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from evidence.__main__ import STEPS, Step, chosen, is_wanted, listing, main
from evidence.computing import Failed
from ngf.places import ROOT


class Made:
    """Steps that only note what was made; `broken` names what fails."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.broken: dict[str, Exception] = {}

    def step(self, name: str, things: list[str]) -> SimpleNamespace:
        def make(thing: str) -> None:
            if thing in self.broken:
                raise self.broken[thing]
            self.done.append(thing)

        return SimpleNamespace(
            missing=lambda: [thing for thing in things if thing not in self.done], make=make
        )


@pytest.fixture
def steps() -> tuple[Step, ...]:
    first, second = (Step(name=name, does="Tests.", writes="nothing") for name in ("one", "two"))
    table = Step(name="table", does="Sums up.", needs=("two",), writes="-", computes=False)
    return first, second, table, Step(name="big", does="Is big.", writes="-", named_only=True)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    found = Made()
    things = {
        "one": ["one-a", "one-b"],
        "two": ["two-a", "two-b"],
        "table": ["table.json"],
        "big": ["big-a"],
    }
    for name, of in things.items():
        monkeypatch.setitem(sys.modules, f"evidence.{name}", found.step(name, of))
    return found


EVERYTHING = ["one-a", "one-b", "two-a", "two-b", "table.json"]


def test_everything_missing_is_made_in_order_once(made: Made, steps, capsys) -> None:
    assert main([], steps) == 0
    assert made.done == EVERYTHING
    assert main([], steps) == 0
    assert made.done == EVERYTHING
    assert "== two: nothing to make" in capsys.readouterr().out


def test_a_failure_stops_and_the_same_command_goes_on(made: Made, steps, capsys) -> None:
    made.broken["two-a"] = Failed("two-a: The images are missing. Download them.")
    assert main([], steps) == 1
    assert made.done == ["one-a", "one-b"]
    said = capsys.readouterr().err
    assert "two, two-a: two-a: The images are missing. Download them." in said
    assert "the same command goes on from there" in said
    made.broken.clear()
    assert main([], steps) == 0
    assert made.done == EVERYTHING


def test_keep_going_makes_the_rest_of_the_step(made: Made, steps) -> None:
    made.broken["one-a"] = OSError("The disk is full")
    assert main(["--keep-going"], steps) == 1
    assert made.done == ["one-b"], "later steps need what failed"


def test_a_step_that_cannot_begin_says_so(monkeypatch, made: Made, steps, capsys) -> None:
    def missing() -> list[str]:
        raise Failed("There is nothing yet: python -m evidence one")

    module = SimpleNamespace(missing=missing, make=None)
    monkeypatch.setitem(sys.modules, "evidence.two", module)
    assert main(["two"], steps) == 1
    assert "two: There is nothing yet: python -m evidence one" in capsys.readouterr().err


def test_a_fault_in_the_program_is_not_hidden(made: Made, steps) -> None:
    made.broken["two-b"] = ZeroDivisionError("oh")
    with pytest.raises(ZeroDivisionError) as found:
        main([], steps)
    assert "In step two." in found.value.__notes__[0]
    assert made.done == ["one-a", "one-b", "two-a"]


def test_an_interrupt_is_no_failure_of_the_program(made: Made, steps, capsys) -> None:
    made.broken["two-b"] = KeyboardInterrupt()  # type: ignore[assignment]
    assert main([], steps) == 130
    assert "goes on from there" in capsys.readouterr().err


def test_steps_can_be_named_in_any_order_and_are_taken_in_theirs(made: Made, steps) -> None:
    assert main(["table", "one"], steps) == 0
    assert made.done == ["one-a", "one-b", "table.json"]
    assert main(["big"], steps) == 0
    assert made.done[-1] == "big-a"


def test_only_some_models(made: Made, steps) -> None:
    """Tables are of all models, whatever is named."""
    assert main(["--only", "a,nothing"], steps) == 0
    assert made.done == ["one-a", "two-a", "table.json"]
    assert is_wanted("signs-adaptive-blend-s0-1", "adaptive_blend") and is_wanted("x", "")
    assert is_wanted("signs-blend-s0-1", "sig,s0") and is_wanted("signs-blend-s0-1", "blend-s0-1")
    assert not is_wanted("signs-blend-s0-1", "sig,badnets,s1")


def test_after_its_time_nothing_further_is_begun(made: Made, steps, capsys) -> None:
    assert main(["--minutes", "0"], steps) == 0
    assert made.done == [] and "Time is up" in capsys.readouterr().out


def test_an_unknown_step_is_refused_with_those_there_are(steps, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["three"], steps)
    assert "There is no step three. Steps: one, two, table, big." in capsys.readouterr().err


# ---- the real table


def test_steps_come_after_what_they_need() -> None:
    names = [step.name for step in STEPS]
    assert names[:3] == ["zoo", "cards", "recordings"]
    assert names.index("minima") < names.index("minima_purified") < names.index("sharpness_table")
    assert names[-5:] == ["purification", "methods", "claims", "readme", "large"]
    for step in STEPS:
        assert set(step.needs) <= set(names[: names.index(step.name)]), step.name
    assert [step.name for step in chosen([], STEPS)] == names[:-1]


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_every_step_is_a_module_that_says_what_is_missing(step: Step) -> None:
    assert all(isinstance(name, str) for name in step.module().missing())
    assert callable(step.module().make)


def test_help_tells_every_step_and_needs_no_torch() -> None:
    code = (
        "import sys; from evidence.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for step in STEPS:
        for text in (step.name, step.does.split()[0], step.takes.split(";")[0]):
            assert text in " ".join(done.stdout.split()), (step.name, text)
    assert "large (only when it is named)" in done.stdout


def test_list_tells_the_same(capsys) -> None:
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.strip() == listing()
