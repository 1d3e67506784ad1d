"""`python -m evidence`: makes everything that ships in `assets` and is missing, in order.

What is there already is left alone, so that the same command goes on after anything. It stops at
the first failure and says what failed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evidence.computing import Failed
from ngf.runs.submit import REFUSALS
from ngf.terminal import finish

ADVICE = "What was made is kept: the same command goes on from there."
EXPECTED = (Failed, *REFUSALS)  # each says what to do


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step; `evidence.<name>` makes it, see there.

    needs: steps whose files it reads.
    takes: all of it, on two cores.
    computes: whether it works with torch.
    named_only: whether it is left out unless it is named.
    """

    name: str
    does: str
    needs: tuple[str, ...] = ()
    takes: str = "a second"
    writes: str
    computes: bool = True
    named_only: bool = False

    def module(self) -> Any:
        return importlib.import_module(f"evidence.{self.name}")


STEPS = (
    Step(
        name="zoo",
        does="Trains the models that ship.",
        takes="3 hours; 1 to 10 minutes per model",
        writes="assets/zoo/*",
    ),
    Step(
        name="cards",
        does="Measures rates and curvature of each model of the zoo.",
        needs=("zoo",),
        takes="half an hour",
        writes="assets/zoo/*/card.json",
    ),
    Step(
        name="recordings",
        does="Records a race of NGF and SGD for each attack, that of the first page among them.",
        needs=("zoo",),
        takes="10 minutes",
        writes="assets/recordings/*",
    ),
    Step(
        name="measurements",
        does="Measures what pages show first: the models of the recordings, before and after.",
        needs=("recordings",),
        takes="2 hours; half a minute per measurement",
        writes="assets/measurements/*",
    ),
    Step(
        name="minima",
        does="Measures the curvature of every minimum on training and test images, and of benign "
        "models on the way of their training while their folders are there.",
        needs=("zoo",),
        takes="2 hours; 1 minute per model, 25 seconds per checkpoint",
        writes="assets/evidence/minima/*.json",
    ),
    Step(
        name="pairs",
        does="Walks out of backdoored minima, and of benign ones with the same clean loss.",
        needs=("zoo",),
        takes="15 minutes",
        writes="assets/evidence/pairs.json",
    ),
    Step(
        name="equal_steps",
        does="Draws steps of equal length in the weights and in the predictions, for the lesson.",
        needs=("zoo",),
        writes="assets/evidence/equal_steps.json",
    ),
    Step(
        name="minima_purified",
        does="Purifies some models with five seeds and measures curvature along the way.",
        needs=("zoo",),
        takes="an hour",
        writes="assets/evidence/minima_purified/*.json",
    ),
    Step(
        name="sharpness_table",
        does="Compares those minima: ratios, what of them is clean loss, detectors.",
        needs=("minima", "minima_purified"),
        takes="5 minutes",
        writes="assets/evidence/sharpness.json",
        computes=False,
    ),
    Step(
        name="detectors",
        does="Takes the checkup of every model: what a defender finds on clean images.",
        needs=("zoo",),
        takes="40 minutes; half a minute per model",
        writes="assets/evidence/detectors/*.json",
    ),
    Step(
        name="detectors_table",
        does="Judges the detectors of the checkup on attacks that they have not seen.",
        needs=("detectors",),
        writes="assets/evidence/detectors.json",
        computes=False,
    ),
    Step(
        name="surrogate",
        does="Measures purified models by the yardstick that needs no trigger, beside their true "
        "attack success.",
        needs=("recordings",),
        takes="40 minutes; 1 to 4 minutes per model",
        writes="assets/evidence/surrogate.json",
    ),
    Step(
        name="arena",
        does="Purifies three models of each attack on signs, and benign ones, by every defense.",
        needs=("zoo",),
        takes="4 hours; 2 to 8 minutes per model",
        writes="assets/evidence/arena/*.json",
    ),
    Step(
        name="arena_strength",
        does="Purifies some of those models by every defense with its strength by rule, and swept.",
        needs=("arena",),
        takes="2 hours; 40 minutes per model",
        writes="assets/evidence/arena_strength/*.json",
    ),
    Step(
        name="arena_rates",
        does="Trains models of which fewer images were poisoned, and purifies them likewise.",
        needs=("arena",),
        takes="half an hour",
        writes="assets/evidence/arena_rates/*.json",
    ),
    Step(
        name="arena_taught",
        does="Teaches benign models what purified ones are reminded of.",
        needs=("zoo",),
        takes="5 minutes",
        writes="assets/evidence/arena_taught.json",
    ),
    Step(
        name="arena_table",
        does="Makes the tables of the Arena.",
        needs=("arena", "arena_strength", "arena_rates", "arena_taught"),
        writes="assets/evidence/arena.json",
        computes=False,
    ),
    Step(
        name="purification",
        does="Purifies every backdoored model on signs: every method, with default strengths, by "
        "one rule, along a sweep, with weak and strong augmentation; over purification seeds.",
        needs=("zoo",),
        takes="20 hours; 5 to 60 minutes per model",
        writes="assets/evidence/purification/*.json",
    ),
    Step(
        name="methods",
        does="Makes the tables of what every method leaves.",
        needs=("purification",),
        writes="assets/evidence/methods.json",
        computes=False,
    ),
    Step(
        name="claims",
        does="Decides the claims.",
        needs=("sharpness_table", "purification"),
        writes="assets/evidence/summary.json",
        computes=False,
    ),
    Step(
        name="readme",
        does="Writes the tables and figures of README.md, those of benchmarks/results too.",
        needs=("cards", "methods", "arena_table", "claims"),
        writes="README.md",
        computes=False,
    ),
    Step(
        name="large",
        does="Trains, purifies and measures the network of the paper. Wants a GPU.",
        takes="days without a GPU",
        writes="assets/evidence/large/*.json",
        named_only=True,
    ),
)


def listing(steps: Sequence[Step] = STEPS) -> str:
    """What each step does, needs, takes and writes."""
    lines = []
    for step in steps:
        lines.append(f"{step.name}{' (only when it is named)' if step.named_only else ''}")
        needs = f"Needs {', '.join(step.needs)}. " if step.needs else ""
        told = f"{step.does} {needs}Takes {step.takes}. Writes {step.writes}."
        lines += textwrap.wrap(told, 90, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def arguments(argv: Sequence[str] | None, steps: Sequence[Step]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evidence",
        description="Makes everything that ships in assets and is missing, in order; or only the "
        "steps that are named. What is there already is left alone.",
        epilog=f"steps, in order (rough times, on two cores):\n\n{listing(steps)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help="see below; the default is all")
    parser.add_argument("--list", action="store_true", help="only tell the steps")
    parser.add_argument(
        "--only",
        default="",
        metavar="NAMES",
        help="only models with one of these in their ids, separated by commas: an attack, a data "
        "set, a seed (s0)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="begin nothing further after this time"
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="after a model that fails, go on with the others"
    )
    options = parser.parse_args(argv)
    known = [step.name for step in steps]
    if unknown := [name for name in options.steps if name not in known]:
        parser.error(f"There is no step {unknown[0]}. Steps: {', '.join(known)}.")
    return options


def chosen(named: Sequence[str], steps: Sequence[Step]) -> list[Step]:
    """The steps to take, always in the order of the table."""
    return [step for step in steps if step.name in named or not (named or step.named_only)]


def is_wanted(name: str, only: str) -> bool:
    """Whether `--only` asks for this one: has one of its parts as whole words. Ids have hyphens
    where attacks have underscores.
    """
    parts = [part.replace("_", "-") for part in only.split(",") if part]
    return not parts or any(f"-{part}-" in f"-{name}-" for part in parts)


def numerics(threads: int | None) -> None:
    """As every run computes."""
    if threads:
        os.environ["NGF_THREADS"] = str(threads)
    from ngf.environment import exact_numerics, use_threads

    use_threads()
    exact_numerics()


def take(step: Step, options: argparse.Namespace, end: float) -> bool:
    """Make what is missing of one step, until `end`; whether nothing failed."""
    if step.computes:
        numerics(options.threads)
    module = step.module()
    try:
        missing = module.missing()
    except EXPECTED as error:
        return failed(step.name, error)
    if step.computes:
        missing = [name for name in missing if is_wanted(name, options.only)]
    print(f"== {step.name}: {len(missing) or 'nothing'} to make", flush=True)
    well = True
    for name in missing:
        if time.monotonic() > end:
            break
        try:
            module.make(name)
        except EXPECTED as error:
            well = failed(f"{step.name}, {name}", error)
            if not options.keep_going:
                break
    return well


def failed(where: str, error: Exception) -> bool:
    print(f"{where}: {error}", file=sys.stderr, flush=True)
    return False


def main(argv: Sequence[str] | None = None, steps: Sequence[Step] = STEPS) -> int:
    options = arguments(argv, steps)
    if options.list:
        print(listing(steps))
        return 0
    end = time.monotonic() + 60 * (float("inf") if options.minutes is None else options.minutes)
    try:
        for step in chosen(options.steps, steps):
            if not take(step, options, end):
                print(f"Stopped. {ADVICE}", file=sys.stderr)
                return 1
            if time.monotonic() > end:
                print(f"Time is up. {ADVICE}")
                return 0
    except KeyboardInterrupt:
        print(f"Stopped. {ADVICE}", file=sys.stderr)
        return 130
    except Exception as error:  # a fault in the program, told with its place in it
        error.add_note(f"In step {step.name}. {ADVICE}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(finish(main))
