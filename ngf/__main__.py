"""The command line: `python -m ngf train`, `purify`, `measure`, `presets`, `list` and more;
`--help` lists them all.

Progress goes to standard error; with `--json`, standard output is one JSON document and nothing
else, whatever happens: {"error": {"kind": ..., "message": ...}} when there is nothing to tell.
Exit codes: 0 done, 1 the run failed or the output could not be written, 2 bad input, 3 not found or
in conflict, 130 interrupted.

A run is paused with a checkpoint by Ctrl-C, SIGTERM and a closed terminal; the same command goes on
from there. It does not end because nobody reads what it prints. A run that has failed starts anew
when it is asked for again; one that ran out of memory or space or was killed goes on from its
checkpoint. What a failed attempt has left is kept, in a folder before-1, before-2... of the run,
until you delete the run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ngf import __version__
from ngf.config import (
    CHOOSING,
    WEAK_ADVICE,
    Choice,
    MeasureSpec,
    PurifySpec,
    Spec,
    Target,
    TrainSpec,
)
from ngf.imports.arguments import HELP as IMPORT_HELP
from ngf.imports.arguments import add_arguments as add_import
from ngf.options import SpecError
from ngf.places import program
from ngf.runs.child import PIPELINES
from ngf.runs.files import plain, read_json, replacing
from ngf.runs.folder import CARD, COMMANDS, SPEC
from ngf.runs.follow import complete
from ngf.runs.here import differs, remarks
from ngf.runs.rows import RATES, Row
from ngf.runs.store import NoSuchRun, PurifyRun, Run, Store
from ngf.sweeps.arguments import HELP as SWEEP_HELP
from ngf.sweeps.arguments import add_arguments as add_sweep
from ngf.terminal import Parser, UsageError, arrived, ended_by_signals, forgiving, wants_json

OK, FAILED, BAD_INPUT, NOT_FOUND, INTERRUPTED = 0, 1, 2, 3, 130


class _Conflict(Exception):
    """What was asked for cannot be done in the state that things are in."""

    kind = "conflict"


def main(argv: Sequence[str] | None = None, pipelines: Mapping[str, str] = PIPELINES) -> int:
    """Run one command and return its exit code; `pipelines` says which module executes which
    kind of run.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return answer(words, lambda words: _obey(words, pipelines))


def answer(words: Sequence[str], obey: Callable[[Sequence[str]], int]) -> int:
    """The exit code of `obey(words)`. Whatever it raises is told in words, and with `--json` as a
    document; readers that leave change nothing.
    """
    as_json = wants_json(words)
    with forgiving() as out:
        try:
            with ended_by_signals():
                code = obey(words)
        except SystemExit:  # after --help and --version
            code = OK
        except UsageError as exc:
            _say(exc.usage.rstrip())
            code = _refuse(as_json, BAD_INPUT, "usage", str(exc))
        except SpecError as exc:
            code = _refuse(as_json, BAD_INPUT, "bad_input", str(exc))
        except (NoSuchRun, _Conflict) as exc:
            code = _refuse(as_json, NOT_FOUND, exc.kind, str(exc))
        except OSError as exc:
            where = f": {exc.filename}" if exc.filename else ""
            text = (exc.strerror or str(exc)) + where
            code = _refuse(as_json, FAILED, getattr(exc, "kind", "system"), text)
        except KeyboardInterrupt:
            code = _refuse(as_json, INTERRUPTED, "interrupted", "Interrupted.")
        except Exception as exc:  # noqa: BLE001  a fault in the program: still one document
            traceback.print_exc()
            code = _refuse(as_json, FAILED, "crash", f"{type(exc).__name__}: {exc}")
        return code if arrived(out) else code or FAILED


def _obey(words: Sequence[str], pipelines: Mapping[str, str]) -> int:
    options = _parser().parse_args(words)
    options.pipelines = pipelines
    code: int = options.command(options)
    return code


def _parser() -> argparse.ArgumentParser:
    json_too = Parser(add_help=False)
    json_too.add_argument(
        "--json", action="store_true", help="print one JSON document on standard output"
    )
    submit = Parser(add_help=False)
    submit.add_argument("--seed", type=int, default=0, help="0 or more; the default is 0")
    submit.add_settings("settings of plug-ins; `catalogue` lists them")
    submit.add_argument(
        "--detach", action="store_true", help="only put it in the queue of the dashboard"
    )
    parser = Parser(
        prog=program("ngf"),
        description=__doc__.split("\n\n")[0],
        epilog="\n\n".join(__doc__.split("\n\n")[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ngf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str,
        command: Callable[[argparse.Namespace], int],
        help: str,
        *parents: Parser,
    ) -> Parser:
        sub: Parser = commands.add_parser(
            name, help=help, description=help, parents=[*parents, json_too]
        )
        sub.set_defaults(command=command)
        return sub

    add("list", _list, "list all runs, newest first; a race has a line for each lane")
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
    _add_to_purify(
        add(
            "purify",
            _purify,
            "remove the backdoor of a trained model; settings: steps=100 ngf.layer=last",
            submit,
        )
    )
    measure = add(
        "measure", _measure, "measure something on the weights of a run (RUN, or RUN:LANE)", submit
    )
    measure.add_argument("run")
    measure.add_argument("--measurement", required=True, help="what to measure")
    add("run", _run, "execute one run folder here, from its checkpoint if it has one").add_argument(
        "run"
    )
    export = add(
        "export",
        _export,
        "write what can be taken of a run into a folder: report, zip, weights, notebook, table, "
        "BibTeX, command; of a run in progress what there is, marked as partial",
    )
    export.add_argument("run", help="a run; RUN:LANE for the weights of one lane only")
    export.add_argument("--to", metavar="FOLDER", default=".", help="made if it is not there")
    export.add_argument(
        "--what",
        action="append",
        metavar="PRODUCT",
        help="report, zip, safetensors, pt, original, notebook, latex, bibtex or command; the "
        "default is all",
    )
    export.add_argument("--lane", default="", help="weights of this lane only, as RUN:LANE")
    export.add_argument(
        "--format",
        action="append",
        choices=tuple(_FORMATS),
        help="weights alone: for torch.load, safetensors, or as an imported model came",
    )
    log = add(
        "log",
        _log,
        "log the steps of a run with a tracker of experiments: tensorboard, wandb or trackio, "
        "which have to be installed; some send what they are given to a server",
    )
    log.add_argument("run")
    log.add_argument("--to", metavar="TRACKER", required=True, help="which one")
    log.add_argument(
        "--folder", metavar="FOLDER", default="tracked", help="where tensorboard writes"
    )
    log.add_argument("--follow", action="store_true", help="go on until the run has ended")
    add_sweep(add("sweep", _sweep, SWEEP_HELP))
    add_import(add("import", _import, IMPORT_HELP))
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
    time.add_settings()
    add("catalogue", _catalogue, "list everything that can be chosen, as JSON")
    return parser


def _add_to_purify(purify: argparse.ArgumentParser) -> None:
    purify.add_argument("run")
    purify.add_argument(
        "--defense", action="append", help="given twice or more: a race; the default is ngf"
    )
    purify.add_argument(
        "--num-clean", type=int, help="clean images that the defender has; the default is 500"
    )
    purify.add_argument(
        "--choosing",
        choices=CHOOSING,
        default=CHOOSING[0],
        help="what settings are judged on: within the clean images, by cross-fitting in two parts "
        "(the default) or in five (for few images), or on 1,000 more that are reserved for it",
    )
    purify.add_argument("--preset", metavar="NAME", help="start from the purification of a setting")
    purify.add_argument(
        "--paper",
        action="store_true",
        help="give each defense the budget of its paper, which `catalogue` lists",
    )
    purify.add_argument(
        "--start",
        metavar="RUN:LANE@STEP",
        default="",
        help="a fork: start from the weights after a step of another purification of this model",
    )


def _list(options: argparse.Namespace) -> int:
    rows = [row for run in Store().runs() for row in run.rows()]
    if options.json:
        return _print(rows)
    if rows:
        print("\n".join(_table(rows)))
    else:
        _say("There are no runs yet. Start one with: python -m ngf train")
    return OK


# column of `list` -> its text, at least so wide as told; `rows_of` tells what is in a row
_COLUMNS: Mapping[str, tuple[int, Callable[[Row], str]]] = {
    "run": (44, lambda row: row["target"] or row["id"]),
    "state": (9, lambda row: _state(row)),
    "kind": (7, lambda row: row["kind"]),
    "what": (18, lambda row: row["defense"] or row["measurement"] or row["model"] or ""),
    "layer": (20, lambda row: row["layer"] or "–"),
    "rate": (6, lambda row: _number(row["lr"])),
    "steps": (5, lambda row: _number(row["steps"])),
    "seed": (4, lambda row: str(row["seed"])),
    "clean": (5, lambda row: _number(row["num_clean"])),
    "CA": (25, lambda row: _rate(row, "ca", "n_clean")),
    "ASR": (25, lambda row: _rate(row, "asr", "n_triggered")),
    "RA": (25, lambda row: _rate(row, "ra", "n_triggered")),
    "seconds": (7, lambda row: "–" if row["seconds"] is None else f"{row['seconds']:.1f}"),
    "version": (7, lambda row: row["version"] or "–"),
}


def _table(rows: Sequence[Row]) -> list[str]:
    """A line for the columns, and one for each row."""
    cells = [list(_COLUMNS), *([text(row) for _, text in _COLUMNS.values()] for row in rows)]
    widths = [width for width, _ in _COLUMNS.values()]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _state(row: Row) -> str:
    found = f"diverged at step {row['diverged']['step']}" if row["diverged"] else row["status"]
    return f"{found}, weak" if row["weak"] else found


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _rate(row: Row, name: str, count: str) -> str:
    """`98.8 % (98.3-99.2), 2400`: a rate, its interval, and how many images are behind it."""
    if row[name] is None:
        return "–"
    between = row[f"{name}_interval"]
    interval = f" ({100 * between[0]:.1f}-{100 * between[1]:.1f})" if between else ""
    of = f", {row[count]}" if row[count] is not None else ""
    return f"{100 * row[name]:.1f} %{interval}{of}"


def _show(options: argparse.Namespace) -> int:
    return _report(Store().get(options.run), options)


def _train(options: argparse.Namespace) -> int:
    from ngf.presets import preset
    from ngf.runs.from_text import training_from_text

    start = None if options.preset is None else preset(options.preset).training()
    return _submit(
        options,
        training_from_text(
            options.data, options.model, options.attack, options.seed, options.settings, start
        ),
    )


def _purify(options: argparse.Namespace) -> int:
    from ngf.presets import preset, with_papers_budget
    from ngf.runs.from_text import lanes_from_text

    start = (
        PurifySpec(parent=options.run, lanes=(Choice("ngf"),))
        if options.preset is None
        else preset(options.preset).purification(options.run)
    )
    defenses: Sequence[str | Choice] = options.defense or start.lanes
    if options.paper:
        defenses = [with_papers_budget(lane) for lane in lanes_from_text(defenses, ())]
    lanes = lanes_from_text(defenses, options.settings)
    return _submit(
        options,
        PurifySpec(
            parent=options.run,
            lanes=lanes,
            seed=options.seed,
            num_clean=start.num_clean if options.num_clean is None else options.num_clean,
            choosing=options.choosing,
            start=options.start,
        ),
    )


def _measure(options: argparse.Namespace) -> int:
    from ngf.runs.from_text import parse_settings

    choice = Choice(options.measurement, parse_settings(options.settings))
    return _submit(options, MeasureSpec(target=options.run, measurement=choice, seed=options.seed))


def _submit(options: argparse.Namespace, spec: Spec) -> int:
    from ngf.runs.submit import checked, submit

    store = Store()
    spec = checked(spec, store)
    _check_surroundings(spec, store)
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


def _check_surroundings(spec: Spec, store: Store) -> None:
    """Raise `_Conflict` when this run would be executed by a dashboard that has other data, or
    computes on another device, than this terminal asks for.
    """
    there, found = store.supervisor(), store.find(spec.id)
    if not there or (found is not None and found.status == "done"):
        return
    if isinstance(spec, TrainSpec):
        origin: TrainSpec | None = spec
    else:
        started = store.find(spec.parent if isinstance(spec, PurifySpec) else spec.target)
        training = started.training() if started else None
        origin = training.spec if training else None
    from ngf.catalogue import catalogue

    files = origin is not None and bool(catalogue()["data"].get(origin.data, {}).get("files"))
    if why := differs(there, files):
        raise _Conflict(
            f"The dashboard that executes the runs in {store.root} would give another run: {why}. "
            "Start it with the same settings, end it, or use another folder of runs (NGF_RUNS)."
        )


def _say_gate(run: Run) -> None:
    """Before a training ends: from what rates on its model counts as strong."""
    if isinstance(run.spec, TrainSpec) and run.status != "done" and (gate := run.spec.gate()):
        _say(gate)


def _run(options: argparse.Namespace) -> int:
    path = Path(options.run).resolve()
    if os.path.exists(path / SPEC):  # False for a text that cannot be a path
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
        return _report(run, options) or (OK if run.status == "done" else INTERRUPTED)
    return _report(run, options)


def _report(run: Run, options: argparse.Namespace) -> int:
    """Print what is known of a run; the exit code follows from its status."""
    summary, result, error = run.summary(), run.result, run.error
    rows, opened = summary["rows"], _opened(run)
    if options.json:
        whole = {"result": result, **opened} if options.command is _show else {}
        told = dict(result or {})
        if len(rows) > 1:  # in races of older versions the first lane stood for all
            told = {key: value for key, value in told.items() if key not in ("after", "der")}
        _print(
            {
                **told,
                **summary,
                "path": str(run.path),
                "spec": run.spec.to_json(),
                "error": error,
                "remarks": remarks(run.facts.environment),
                **whole,
            }
        )
    else:
        for name, value in summary.items():
            if name != "rows" and value not in (None, ""):
                print(f"{name:<14} {_percent(value) if name in RATES else value}")
        if len(rows) > 1:
            print("\n".join(_table(rows)))
        if options.command is _show and opened:
            print("\n".join(_opened_lines(opened)))
    for remark in remarks(run.facts.environment):
        _say(remark)
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


def _opened(run: Run) -> dict[str, Any]:
    """`opens` and `figures` of the card of a model of the zoo (see `ngf.attacks.opens`); empty for
    any other run, and where there was none to measure.
    """
    card = (read_json(run.path / CARD) if run.source == "zoo" else None) or {}
    return {name: card[name] for name in ("opens", "figures") if card.get(name)}


def _opened_lines(opened: Mapping[str, Any]) -> list[str]:
    """What opens the backdoor and what does not: a line for each probe, and for each figure."""
    says = {True: "opens", False: "does not", None: "–"}
    head = "what is shown"
    width = max(len(text) for text in (head, *(row["name"] for row in opened.get("opens", ()))))
    lines = [f"{head:<{width}}  claimed   called what the attacker wants"]
    for row in opened.get("opens", ()):
        low, high = (100 * share for share in row["interval"])
        lines.append(
            f"{row['name']:<{width}}  {says[row['claims']]:<8}  {100 * row['called_wanted']:.1f} % "
            f"({low:.1f}-{high:.1f}), {row['n']}"
        )
    return lines + [f"{name}: {value:.3g}" for name, value in opened.get("figures", {}).items()]


def _log(options: argparse.Namespace) -> int:
    from ngf.export.tracking import send, tracker

    run = Store().get(options.run)
    count = send(run, tracker(options.to, run, Path(options.folder)), follow=options.follow)
    said = f"{count} steps of {run.id} logged with {options.to}."
    return _print({"id": run.id, "steps": count} if options.json else said)


_FORMATS = {"torch": "pt", "safetensors": "safetensors", "original": "original"}


def _export(options: argparse.Namespace) -> int:
    from ngf.export.products import available, file_name, product, take

    run, lane = Store().get(options.run), options.lane or Target.parse(options.run).lane
    if lane and isinstance(run, PurifyRun):
        run.spec.lane_name(lane)  # refuses a lane that there is none of
    wanted = [*map(str, options.what or []), *(_FORMATS[name] for name in options.format or ())]
    for name in wanted:
        product(name)
    found = [
        (name, of)
        for name, of in available(run)
        if (not wanted or name in wanted) and (not of or not lane or of == lane)
    ]
    for name in wanted:
        if not any(name == there for there, _ in found):
            take(name, run, lane).close()  # refuses, with the reason
    folder = Path(options.to)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, of in found:
        path = folder / file_name(name, run, of)
        with take(name, run, of) as source, replacing(path) as file:
            shutil.copyfileobj(source, file)
        written.append(str(path))
    if run.status != "done":
        _say(f"{run.id} is {run.status}: what was written is partial, and says so.")
    return _print(
        {"id": run.id, "status": run.status, "files": written}
        if options.json
        else "\n".join(written)
    )


def _sweep(options: argparse.Namespace) -> int:
    from ngf.sweeps.command import sweep

    document, lines, done = sweep(options, _say)
    if options.json:
        _print(document)
    else:
        print("\n".join(lines))
    return OK if done else FAILED


def _import(options: argparse.Namespace) -> int:
    from ngf.imports.command import import_model

    document, lines, done = import_model(options, _say)
    if options.json:
        _print(document)
    else:
        print("\n".join(lines))
    return OK if done else BAD_INPUT


def _delete(options: argparse.Namespace) -> int:
    try:
        gone = Store().delete(options.run)  # a damaged folder as well, which is no run any more
    except ValueError as exc:
        raise _Conflict(str(exc)) from exc
    _say(f"{gone} is deleted.")
    return _print({"id": gone, "deleted": True}) if options.json else OK


def _control(options: argparse.Namespace) -> int:
    run = Store().get(options.run)
    if run.source != "user" or run.status in ("done", "failed"):
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
    from ngf.runs.submit import checked, purification_of

    start = None if options.preset is None else preset(options.preset).training()
    settings = () if options.defense else options.settings
    spec = checked(
        training_from_text(options.data, options.model, options.attack, 0, settings, start), Store()
    )
    wanted: TrainSpec | PurifySpec = spec
    if options.defense:
        lanes = lanes_from_text(options.defense, options.settings)
        asked = PurifySpec(parent=spec.id, lanes=lanes, num_clean=options.num_clean)
        wanted = purification_of(spec, asked)

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


def _refuse(as_json: bool, code: int, kind: str, message: str) -> int:
    """Say why nothing came of a command, as a document, too, where one is asked for."""
    if as_json and not getattr(sys.stdout, "used", False):  # never a second document
        _print({"error": {"kind": kind, "message": message}})
    _say(message)
    return code


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
