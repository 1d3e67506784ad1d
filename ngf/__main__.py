"""The command line: `python -m ngf train`, `purify`, `measure`, `presets`, `list` and more;
`--help` lists them all.

Progress goes to standard error; with `--json`, standard output is one JSON document and nothing
else. Exit codes: 0 done, 1 the run failed, 2 bad input, 3 not found or in conflict, 130
interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ngf.config import WEAK_ADVICE, Choice, MeasureSpec, PurifySpec, Spec, TrainSpec
from ngf.options import SpecError
from ngf.places import program
from ngf.runs.child import PIPELINES
from ngf.runs.files import plain
from ngf.runs.folder import COMMANDS, SPEC
from ngf.runs.follow import complete
from ngf.runs.store import NoSuchRun, Run, Store

OK, FAILED, BAD_INPUT, NOT_FOUND, INTERRUPTED = 0, 1, 2, 3, 130


class _Conflict(Exception):
    """What was asked for cannot be done in the state that things are in."""

    kind = "conflict"


def main(argv: Sequence[str] | None = None, pipelines: Mapping[str, str] = PIPELINES) -> int:
    """Run one command and return its exit code; `pipelines` says which module executes which
    kind of run.
    """
    options = _parser().parse_args(argv)
    options.pipelines = pipelines
    try:
        return options.command(options)
    except SpecError as exc:
        return _refuse(options, BAD_INPUT, "bad_input", str(exc))
    except (NoSuchRun, _Conflict) as exc:
        return _refuse(options, NOT_FOUND, exc.kind, str(exc))
    except OSError as exc:
        return _refuse(options, FAILED, getattr(exc, "kind", "crash"), exc.strerror or str(exc))
    except KeyboardInterrupt:
        _say("Interrupted.")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    json_too = argparse.ArgumentParser(add_help=False)
    json_too.add_argument(
        "--json", action="store_true", help="print one JSON document on standard output"
    )
    submit = argparse.ArgumentParser(add_help=False)
    submit.add_argument("--seed", type=int, default=0, help="0 or more; the default is 0")
    submit.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="settings of plug-ins; `catalogue` lists them",
    )
    submit.add_argument(
        "--detach", action="store_true", help="only put it in the queue of the dashboard"
    )
    parser = argparse.ArgumentParser(
        prog=program("ngf"), description=__doc__.split("\n")[0], epilog=__doc__.split("\n\n")[1]
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str,
        command: Callable[[argparse.Namespace], int],
        help: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help, parents=[*parents, json_too])
        sub.set_defaults(command=command)
        return sub

    add("list", _list, "list all runs, newest first")
    add("show", _show, "show a run: what was asked for and what came out").add_argument("run")
    train = add(
        "train",
        _train,
        "train a model under an attack; settings: attack.size=4 training.epochs=2; a weak model "
        "ends with 0, too, and standard error says so",
        submit,
    )
    for name, help in (("data", "data set"), ("model", "network"), ("attack", "attack, or none")):
        train.add_argument(f"--{name}", help=help)
    train.add_argument("--preset", metavar="NAME", help="start from a setting that `presets` lists")
    purify = add(
        "purify",
        _purify,
        "remove the backdoor of a trained model; settings: steps=100 ngf.layer=last",
        submit,
    )
    purify.add_argument("run")
    purify.add_argument(
        "--defense", action="append", help="given twice or more: a race; the default is ngf"
    )
    purify.add_argument(
        "--num-clean", type=int, help="clean images that the defender has; the default is 500"
    )
    purify.add_argument("--preset", metavar="NAME", help="start from the purification of a setting")
    measure = add(
        "measure", _measure, "measure something on the weights of a run (RUN, or RUN:LANE)", submit
    )
    measure.add_argument("run")
    measure.add_argument("--measurement", required=True, help="what to measure")
    add("run", _run, "execute one run folder here, from its checkpoint if it has one").add_argument(
        "run"
    )
    add("delete", _delete, "delete a run").add_argument("run")
    for name in COMMANDS:
        add(name, _control, f"{name} a run that is executed elsewhere").add_argument("run")
        commands.choices[name].set_defaults(word=name)
    add("models", _models, "list networks: parameters, features, layers that can be tuned")
    add("presets", _presets, "list settings to start from: the paper's, for one GPU, for a laptop")
    time = add(
        "calibrate",
        _calibrate,
        "time single steps here, so that a run's time is known before; settings: as "
        "those of train, or with --defense those of purify",
    )
    for name in ("data", "model", "attack", "preset"):
        time.add_argument(f"--{name}", help=f"{name} of the training, as in train")
    time.add_argument(
        "--defense", action="append", help="time purifying such a model by this, once or more"
    )
    time.add_argument(
        "--num-clean", type=int, default=500, help="clean images that the defender has"
    )
    time.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", dest="settings"
    )
    add("catalogue", _catalogue, "list everything that can be chosen, as JSON")
    return parser


def _list(options: argparse.Namespace) -> int:
    rows = [run.summary() for run in Store().runs()]
    if options.json:
        return _print(rows)
    for row in rows:
        rates = "  ".join(f"{name.upper()} {_percent(row[name])}" for name in ("ca", "asr", "ra"))
        what = row["defense"] or row["measurement"] or row["model"] or ""
        state = row["status"] + (", weak" if row["weak"] else "")
        print(f"{row['id']:<44} {state:<10} {row['kind']:<8} {what:<20} {rates}")
    if not rows:
        _say("There are no runs yet. Start one with: python -m ngf train")
    return OK


def _show(options: argparse.Namespace) -> int:
    return _report(Store().get(options.run), options)


def _train(options: argparse.Namespace) -> int:
    from ngf.presets import preset
    from ngf.runs.from_text import training_from_text

    start = preset(options.preset).training() if options.preset else None
    return _submit(
        options,
        training_from_text(
            options.data, options.model, options.attack, options.seed, options.settings, start
        ),
    )


def _purify(options: argparse.Namespace) -> int:
    from ngf.presets import preset
    from ngf.runs.from_text import lanes_from_text

    start = (
        preset(options.preset).purification(options.run)
        if options.preset
        else PurifySpec(parent=options.run, lanes=(Choice("ngf"),))
    )
    lanes = lanes_from_text(options.defense or start.lanes, options.settings)
    return _submit(
        options,
        PurifySpec(
            parent=options.run,
            lanes=lanes,
            seed=options.seed,
            num_clean=start.num_clean if options.num_clean is None else options.num_clean,
        ),
    )


def _measure(options: argparse.Namespace) -> int:
    from ngf.runs.from_text import parse_settings

    choice = Choice(options.measurement, parse_settings(options.settings))
    return _submit(options, MeasureSpec(target=options.run, measurement=choice, seed=options.seed))


def _submit(options: argparse.Namespace, spec: Spec) -> int:
    from ngf.runs.submit import submit

    store = Store()
    run = submit(spec, store)
    if run.status == "paused":
        run.control("resume")
    if options.detach:
        _say(
            f"{run.id} is {run.status}."
            + (
                ""
                if store.supervised
                else " Nothing executes it yet: start the "
                f"dashboard, or: python -m ngf run {run.path}"
            )
        )
        _say_gate(run)
        return _report(run, options)
    return _complete(run, options)


def _say_gate(run: Run) -> None:
    """Before a training ends: from what rates on its model counts as strong."""
    if isinstance(run.spec, TrainSpec) and run.status != "done" and (gate := run.spec.gate()):
        _say(gate)


def _run(options: argparse.Namespace) -> int:
    path = Path(options.run).resolve()
    if (path / SPEC).exists():
        run = Store(path.parent).get(path.name)
    else:
        run = Store().get(options.run)
    status = run.status
    if status == "running":
        raise _Conflict(f"{run.id} is being executed by another process already.")
    if status in ("failed", "cancelled"):
        run = run.store.submit(run.spec, run.request["owner"])
    elif status == "paused":
        run.control("resume")
    return _complete(run, options)


def _complete(run: Run, options: argparse.Namespace) -> int:
    parent = None if run.status in ("done", "failed") or run.store.supervised else run.ancestor()
    if parent is not None and parent.status != "done":
        raise _Conflict(
            f"{parent.id}, which it starts from, is {parent.status}. Complete it first: "
            f"python -m ngf run {parent.path}"
        )
    _say(run.id)
    _say_gate(run)
    try:
        complete(run, _say, options.pipelines)
    except KeyboardInterrupt:
        if run.status == "running" or run.store.supervised:
            _say(
                f"{run.id} goes on without this window. Follow it with the same command; "
                f"stop it with: python -m ngf pause {run.id}"
            )
            return INTERRUPTED
    return _report(run, options)


def _report(run: Run, options: argparse.Namespace) -> int:
    """Print what is known of a run; the exit code follows from its status."""
    summary, result, error = run.summary(), run.result, run.error
    if options.json:
        whole = {"result": result} if options.command is _show else {}
        _print(
            {
                **(result or {}),
                **summary,
                "path": str(run.path),
                "spec": run.spec.to_json(),
                "error": error,
                **whole,
            }
        )
    else:
        for name, value in summary.items():
            if value not in (None, ""):
                print(f"{name:<14} {_percent(value) if name in ('ca', 'asr', 'ra') else value}")
    if options.command is _show:
        return OK
    if error is not None:
        where = f" at step {error['step']}" if error.get("step") is not None else ""
        _say(f"{run.id} failed{where}: {error['message']}\n{error['advice']}")
        return FAILED
    if summary["status"] == "paused":
        _say(
            f"{run.id} is paused. Continue with the same command, or: python -m ngf run {run.path}"
        )
        return INTERRUPTED
    if summary["weak"] and isinstance(run.spec, TrainSpec):
        _say(f"{run.id} is weak. {summary['weak']} {WEAK_ADVICE}")
    return FAILED if summary["status"] == "cancelled" else OK


def _delete(options: argparse.Namespace) -> int:
    store = Store()
    run = store.get(options.run)
    try:
        store.delete(run.id)
    except ValueError as exc:
        raise _Conflict(str(exc)) from exc
    _say(f"{run.id} is deleted.")
    return _print({"id": run.id, "deleted": True}) if options.json else OK


def _control(options: argparse.Namespace) -> int:
    run = Store().get(options.run)
    if run.source == "zoo" or run.status in ("done", "failed"):
        raise _Conflict(f"{run.id} is {run.status}.")
    run.control(options.word)
    return _print(run.summary()) if options.json else OK


def _models(options: argparse.Namespace) -> int:
    from ngf.catalogue import catalogue

    known = catalogue()["models"]
    return _print(known if options.json else "\n".join(_model_lines(known)))


def _model_lines(known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every network in words: one line, and below it the names of the layers that can be tuned."""
    lines = []
    for name, about in known.items():
        lines.append(
            f"{name:<20} {about['num_parameters']:>11,} parameters  {about['num_features']:>5,} "
            f"features  {len(about['layers']):>3} layers to tune, the classifier is "
            f"{about['classifier']}"
        )
        lines.append(
            textwrap.fill(
                ", ".join(about["layers"]),
                110,
                initial_indent="    ",
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
        )
    return lines


def _presets(options: argparse.Namespace) -> int:
    from ngf.presets import presets

    known = presets().values()
    if options.json:
        return _print([preset.to_json() for preset in known])
    for preset in known:
        spec = preset.spec
        print(
            f"{preset.name:<24} {preset.title:<52} {spec.data}, {spec.model}, "
            f"{spec.training.epochs} epochs"
        )
    return OK


def _calibrate(options: argparse.Namespace) -> int:
    from ngf.presets import preset
    from ngf.runs.from_text import lanes_from_text, training_from_text
    from ngf.runs.submit import checked

    start = preset(options.preset).training() if options.preset else None
    settings = () if options.defense else options.settings
    spec = checked(
        training_from_text(options.data, options.model, options.attack, 0, settings, start), Store()
    )
    wanted: TrainSpec | PurifySpec = spec
    if options.defense:
        wanted = PurifySpec(
            parent=spec.id,
            lanes=lanes_from_text(options.defense, options.settings),
            num_clean=options.num_clean,
        )

    from ngf.timing.calibrate import calibrate  # torch, only when the request is right

    found = calibrate(wanted, spec.model, spec.data, _say)
    if options.json:
        return _print(found)
    where = found["environment"]
    print(
        f"{found['times'][0]['step']:.4f} s per step, {found['seconds']:.0f} s the whole run, on "
        f"{where['hardware']} ({where['device']}, {where['threads']} threads)"
    )
    return OK


def _catalogue(options: argparse.Namespace) -> int:
    from ngf.catalogue import describe

    return _print(describe())


def _print(document: Any) -> int:
    print(document if isinstance(document, str) else json.dumps(plain(document), indent=2))
    return OK


def _refuse(options: argparse.Namespace, code: int, kind: str, message: str) -> int:
    if options.json:
        _print({"error": {"kind": kind, "message": message}})
    _say(message)
    return code


def _percent(value: float | None) -> str:
    return "   –   " if value is None else f"{100 * value:5.1f} %"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
