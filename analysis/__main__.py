"""Measure something on the weights of a run: `python -m analysis RUN[:LANE] MEASUREMENT`.

`python -m analysis list` says what can be measured. Progress goes to standard error; with --json,
standard output is one JSON document and nothing else, whatever happens. Exit codes: 0 done, 1 the
measurement failed or the output could not be written, 2 bad input, 3 not found or in conflict, 130
interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import ngf.__main__ as ngf_command
from ngf.catalogue import catalogue, names
from ngf.config import Choice, MeasureSpec
from ngf.runs.from_text import parse_settings
from ngf.runs.store import Store
from ngf.runs.submit import checked
from ngf.terminal import Parser, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return ngf_command.answer(words, _obey)


def _obey(words: Sequence[str]) -> int:
    options = _parser().parse_args(words)
    if options.run == "list":
        return _list(options.json)
    if options.measurement is None:
        known = ", ".join(names("measurements"))
        raise UsageError(f"Say what to measure. Allowed: {known}.", _parser().format_usage())
    return _measure(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m analysis",
        description=__doc__.split("\n")[0],
        epilog=__doc__.split("\n\n")[1],
    )
    parser.add_argument(
        "run", metavar="RUN[:LANE]", help="a training, a lane of a purification, or: list"
    )
    parser.add_argument(
        "measurement", nargs="?", help="one of: " + ", ".join(names("measurements"))
    )
    parser.add_argument(
        "--data", help="clean, triggered_true, triggered_target, train, validation or poisoned"
    )
    parser.add_argument("--num-images", help="images to measure on")
    parser.add_argument(
        "--layers", help="layers to measure, separated by commas; the default is all"
    )
    parser.add_argument("--budget", help="seconds after which it stops with what is there")
    parser.add_argument("--seed", type=int, default=0, help="0 or more; the default is 0")
    parser.add_settings("options of the measurement, named by `list`")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document on standard output"
    )
    return parser


def _list(as_json: bool) -> int:
    known = catalogue()["measurements"]
    if as_json:
        print(json.dumps(known, indent=1))
        return ngf_command.OK
    for name, about in known.items():
        print(f"{name}: {about['summary']}")
        for item in about["fields"]:
            print(f"    {item['name']} = {item['default']}: {item['help']}")
    return ngf_command.OK


def _measure(options: argparse.Namespace) -> int:
    settings = list(options.settings)
    for name, value in (
        ("data", options.data),
        ("num_images", options.num_images),
        ("layers", options.layers),
        ("budget", options.budget),
    ):
        if value is not None:
            settings.append(f"{name}={value}")
    command = [
        "measure",
        options.run,
        "--measurement",
        options.measurement,
        "--seed",
        str(options.seed),
    ]
    command += ["--set", *settings] if settings else []
    code = ngf_command.main([*command, "--json"] if options.json else command)
    if code == ngf_command.OK and not options.json:
        store = Store()
        choice = Choice(options.measurement, parse_settings(settings))
        spec = MeasureSpec(target=options.run, measurement=choice, seed=options.seed)
        run = store.get(checked(spec, store).id)
        for name, value in run.finished()["values"].items():
            print(f"{name:<22} {value:.6g}" if isinstance(value, float) else f"{name:<22} {value}")
    return code


if __name__ == "__main__":
    sys.exit(main())
