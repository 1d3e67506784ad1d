"""What other people's links, scripts and folders rest on, as plain JSON: it must not change by
accident.

    python -m tests.guard.promises            # what differs from what is written down python -m
    tests.guard.promises NAME ...   # write it down anew (names, catalogue, routes, commands, race)

Writing it down anew is a decision: do it in a commit of its own that says what changed and why.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import evidence.zoo as zoo
from dashboard.kit.measuring import View, sides
from ngf.catalogue import catalogue as catalogue_of_plugins
from ngf.catalogue import normalize
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.places import ASSETS, ROOT
from ngf.presets import presets
from ngf.runs.recorded import RACE as RECORDED
from ngf.runs.store import PurifyRun, Store

HERE = Path(__file__).parent
MODEL = "signs-badnets-s0-36a7376469"  # a model of the zoo
BENIGN = "signs-none-s0-127bd5635e"


# ---- names of runs


def names() -> dict[str, Any]:
    """Ids of all presets, of the zoo, of the runs that the evidence rests on, and of
    measurements as pages ask for.
    """
    evidence = ASSETS / "evidence"
    race = PurifySpec(parent=MODEL, lanes=(Choice("ngf"), Choice("sgd")))
    return {
        "presets": {
            name: [found.training().id, found.purification("RUN").id]
            for name, found in presets().items()
        },
        "zoo": sorted(spec.id for spec in zoo.specs()),
        "zoo folders": sorted(path.name for path in (ASSETS / "zoo").iterdir()),
        "purification": sorted(path.stem for path in (evidence / "purification").glob("*.json")),
        "minima": sorted(path.stem for path in (evidence / "minima").glob("*.json")),
        "recording": race.id,
        "measurements": {
            name: MeasureSpec(target=MODEL, measurement=normalize("measurements", Choice(name))).id
            for name in sorted(catalogue_of_plugins()["measurements"])
        },
        "geometry page": {
            f"{run}, {kind}, {plane}": _asked(run, kind, plane)
            for run, kind, plane in (
                (MODEL, "clean", "random"),
                (MODEL, "triggered_true", "eigenvectors"),
                ("recording", "clean", "random"),
                ("recording", "clean", "models"),
                ("recording", "triggered_target", "random"),
            )
        },
    }


def _asked(name: str, kind: str, plane: str) -> dict[str, list[str]]:
    """What the Geometry page asks for, by measurement: `target id` of each run."""
    store = Store()
    run = store.get(name if name != "recording" else RECORDED.id)
    lane = "ngf" if isinstance(run, PurifyRun) else ""
    view = View(sides(run, lane, True), kind, 0, False, plane)
    return {
        measurement: [f"{spec.target} {spec.id}" for _, spec in view.specs(measurement)]
        for measurement in sorted(catalogue_of_plugins()["measurements"])
    }


# ---- the catalogue


def catalogue() -> dict[str, Any]:
    """Everything that can be chosen; texts that only explain (`about`, `summary`) may be
    improved.
    """
    return {
        kind: {
            name: {key: value for key, value in about.items() if key not in ("about", "summary")}
            for name, about in known.items()
        }
        for kind, known in catalogue_of_plugins().items()
    }


# ---- JSON routes


def shape(value: Any) -> Any:
    """Keys and types of a JSON document; a list is told by its first element."""
    if isinstance(value, Mapping):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if value is None or isinstance(value, bool):
        return type(value).__name__
    return "number" if isinstance(value, int | float) else "text"


MEASURED = {  # small enough to be measured in a second each; the charts that show them
    "loss_slice": ({"points": 5, "directions": 2}, ("slices",)),
    "loss_plane": ({"points": 3}, ("planes",)),
    "hessian_spectrum": (
        {"steps": 3, "probes": 3, "vectors": 1},
        ("spectra", "bars", "layer_traces"),
    ),
    "fisher_trace": ({"draws": 2}, ("bars", "layer_traces")),
    "rescaling": ({"points": 3}, ("rescaling",)),
    "fisher_spectrum": ({}, ("spectra",)),
    "loss_line": ({"points": 3}, ("lines",)),
}


def routes() -> dict[str, Any]:
    """Every JSON route of a real server over real runs, by its shape; of charts also the
    kinds of traces.
    """
    with tempfile.TemporaryDirectory() as folder, _environment(NGF_RUNS=f"{folder}/runs"):
        from tests.helpers.run_folders import (
            RACE,
            TRAIN,
            append,
            epoch_events,
            get,
            race_events,
            server,
            write_run,
        )

        runs = Path(folder) / "runs"
        write_run(runs, TRAIN, epoch_events(20), done=True)
        race = write_run(runs, RACE, [], done=True)
        append(
            race,
            [
                {
                    "type": "chosen",
                    "lane": "ngf",
                    "layer": "stem",
                    "lr": 0.01,
                    "num_parameters": 9,
                    "why": "",
                },
                {"type": "layer", "lane": "ngf", "layer": "stem", "score": 0.5},
                *race_events(40),
            ],
        )
        measured = {name: _measured(name, options) for name, (options, _) in MEASURED.items()}
        out: dict[str, Any] = {}
        with server(runs) as url:

            def look(name: str, route: str) -> None:
                status, headers, answer = get(url + route)
                out[name] = {
                    "status": status,
                    "type": headers["Content-Type"],
                    "shape": shape(answer),
                }
                if isinstance(answer, dict) and "figure" in answer:
                    out[name]["shape"]["figure"] = {
                        "data": [
                            [trace.get("type"), trace.get("name")]
                            for trace in answer["figure"]["data"]
                        ],
                        "layout": sorted(answer["figure"]["layout"]),
                    }

            look("health", "/api/health")
            look("runs", "/api/runs")
            look("a training", f"/api/runs/{TRAIN.id}")
            look("a purification", f"/api/runs/{RACE.id}")
            look("a model of the zoo", f"/api/runs/{MODEL}")
            look("events", f"/api/runs/{RACE.id}/events?since=2")
            for chart, run in (
                ("training", TRAIN),
                ("race", RACE),
                ("internals", RACE),
                ("layers", RACE),
            ):
                look(f"chart {chart}", f"/api/runs/{run.id}/charts/{chart}")
            for name, (_, charts) in MEASURED.items():
                for chart in charts:
                    look(f"chart {chart} of {name}", f"/api/runs/{measured[name]}/charts/{chart}")
            pair = f"{measured['loss_slice']},{measured['loss_slice']}"
            look(
                "chart beside another",
                f"/api/runs/{measured['loss_slice']}/charts/slices?beside={pair}&together=1",
            )
            for name, route in (
                ("no such run", "/api/runs/none"),
                ("no id", "/api/runs/A%20b"),
                ("no such route", "/api/none"),
                ("no such chart", f"/api/runs/{RACE.id}/charts/none"),
                ("wrong kind", f"/api/runs/{TRAIN.id}/charts/race"),
                ("since", f"/api/runs/{RACE.id}/events?since=x"),
                ("version", f"/api/runs/{RACE.id}/charts/race?since=%20"),
                ("look", f"/api/runs/{measured['loss_plane']}/charts/planes?view=fly"),
            ):
                look(f"refused: {name}", route)
        return out


def _measured(name: str, options: Mapping[str, Any]) -> str:
    """The id of a finished measurement of a zoo model on 16 images."""
    target = MODEL if name != "loss_line" else _purified()
    settings = [f"{key}={value}" for key, value in {"num_images": 16, **options}.items()]
    done = _run("ngf", "measure", target, "--measurement", name, "--set", *settings, "--json")
    return json.loads(done.stdout)["id"]


def _purified() -> str:
    done = _run("ngf", "purify", MODEL, "--defense", "ngf", "--set", "steps=2", "--json")
    return json.loads(done.stdout)["id"]


def _run(
    module: str, *words: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "500", **environment},
    )
    if done.returncode != code:
        raise RuntimeError(
            f"{module} {' '.join(words)} ended with {done.returncode}:\n{done.stderr}"
        )
    return done


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    sys.path.insert(0, str(HERE.parent))
    try:
        yield
    finally:
        sys.path.remove(str(HERE.parent))
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---- the command line

ENDS: dict[str, tuple[str, list[str]]] = {  # what is done on an empty store -> module and words
    "list": ("ngf", ["list"]),
    "list --json": ("ngf", ["list", "--json"]),
    "presets": ("ngf", ["presets"]),
    "models": ("ngf", ["models"]),
    "catalogue": ("ngf", ["catalogue"]),
    "show a zoo model": ("ngf", ["show", MODEL]),
    "no command": ("ngf", []),
    "unknown command": ("ngf", ["dance"]),
    "unknown run": ("ngf", ["show", "none"]),
    "unknown attack": ("ngf", ["train", "--attack", "none-such"]),
    "unknown preset": ("ngf", ["train", "--preset", "x"]),
    "bad setting": ("ngf", ["train", "--set", "training.epochs=0"]),
    "bad seed": ("ngf", ["train", "--seed", "-1"]),
    "no setting": ("ngf", ["train", "--set", "epochs"]),
    "no such parent": ("ngf", ["purify", "none"]),
    "unknown defense": ("ngf", ["purify", MODEL, "--defense", "dance"]),
    "unknown layer": ("ngf", ["purify", MODEL, "--set", "layer=none"]),
    "too few images": ("ngf", ["purify", MODEL, "--num-clean", "3"]),
    "unknown measurement": ("ngf", ["measure", MODEL, "--measurement", "dance"]),
    "a model has no lane": ("ngf", ["measure", f"{MODEL}:ngf", "--measurement", "loss_slice"]),
    "pause a zoo model": ("ngf", ["pause", MODEL]),
    "delete a zoo model": ("ngf", ["delete", MODEL]),
    "delete none": ("ngf", ["delete", "none", "--json"]),
    "detached": ("ngf", ["train", "--seed", "77", "--detach", "--json"]),
    "measure list": ("analysis", ["list"]),
    "measure nothing": ("analysis", [MODEL]),
    "measure the unknown": ("analysis", [MODEL, "dance"]),
    "port": ("dashboard", ["--port", "99999"]),
}


def commands() -> dict[str, Any]:
    """Commands, their options, and exit codes with what is printed as JSON."""
    out: dict[str, Any] = {"options": {}, "ends": {}}
    names_of = re.findall(
        r"^    (\w+)(?: |$)", _run("ngf", "--help").stdout.split("COMMAND", 1)[1], re.MULTILINE
    )
    for module, words in (("ngf", [name]) for name in names_of):
        out["options"][" ".join((module, *words))] = _options(_run(module, *words, "--help").stdout)
    for module in ("analysis", "dashboard"):
        out["options"][module] = _options(_run(module, "--help").stdout)
    with tempfile.TemporaryDirectory() as folder:
        for name, (module, words) in ENDS.items():
            done = subprocess.run(
                [sys.executable, "-m", module, *words],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "NGF_RUNS": folder},
            )
            out["ends"][name] = {
                "code": done.returncode,
                "printed": bool(done.stdout),
                "said": bool(done.stderr),
            }
            if "--json" in words:
                out["ends"][name]["shape"] = shape(json.loads(done.stdout))
    return out


def _options(text: str) -> list[str]:
    usage = text.split("\n\n", 1)[0]
    return (
        sorted(set(re.findall(r"--[a-z][a-z-]*", text)))
        + re.findall(r" ([a-zA-Z]+)(?=$| )", usage)[1:]
    )


# ---- one short race

# The same instructions on every processor that torch runs on, so that the same program gives the
# same bits; but for MKL, which on processors that are not Intel's takes ways of its own.
PLAIN = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NGF_DEVICE": "cpu",
    "NGF_THREADS": "1",
}


def _vendor() -> str:
    """Who made the processor, as Linux tells it: `GenuineIntel`."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "")


RACE = [
    "purify",
    MODEL,
    "--defense",
    "ngf",
    "--defense",
    "sgd",
    "--defense",
    "adam",
    "--defense",
    "ngf_as_released",
    "--set",
    "steps=12",
    "--num-clean",
    "200",
    "--json",
]
_CLOCKS = {"t", "seconds", "environment"}


def race() -> dict[str, Any]:
    """Events and result of a race, and digests of the weights it leaves; without what a clock
    says.
    """
    import hashlib

    import torch

    with tempfile.TemporaryDirectory() as folder:
        # the signs are drawn anew: other instructions draw some pixels otherwise, and those may be
        # in the cache
        done = json.loads(
            _run("ngf", *RACE, NGF_RUNS=folder, NGF_CACHE=f"{folder}/.cache", **PLAIN).stdout
        )
        path = Path(done["path"])
        events = [
            json.loads(line)
            for line in (path / "events.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        result = json.loads((path / "result.json").read_text(encoding="utf-8"))
        return {
            "torch": torch.__version__.split("+")[0],
            "vendor": _vendor(),
            "id": path.name,
            "events": {
                lane: [_sure(event) for event in events if event.get("lane") == lane]
                for lane in result["lanes"]
            },
            "result": _without_clocks(result),
            "weights": {
                file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                for file in sorted(path.glob("purified.*.safetensors"))
            },
            "files": sorted(
                file.relative_to(path).as_posix()
                for file in path.rglob("*")
                if file.is_file() and not file.name.startswith(".")
            ),
        }


def _sure(event: Mapping[str, Any]) -> dict[str, Any]:
    """Measuring between steps waits its turn by the clock, so only the first and the last
    point are sure.
    """
    ends = event["type"] != "step" or event["step"] in (0, event["steps"])
    return {
        key: value
        for key, value in event.items()
        if key not in _CLOCKS | {"seq"} and (ends or key not in ("ca", "asr", "ra"))
    }


def _without_clocks(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_clocks(item) for key, item in value.items() if key not in _CLOCKS}
    return value


PROMISES: dict[str, Callable[[], Any]] = {
    "names": names,
    "catalogue": catalogue,
    "routes": routes,
    "commands": commands,
    "race": race,
}


def recorded(name: str) -> Any:
    """What was written down."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def differences(then: Any, now: Any, where: str = "") -> list[str]:
    """Where two documents differ; what is new in an object is none."""
    if isinstance(then, dict) and isinstance(now, dict):
        found = [f"{where}/{key} is gone" for key in then.keys() - now.keys()]
        return found + [
            line
            for key in then.keys() & now.keys()
            for line in differences(then[key], now[key], f"{where}/{key}")
        ]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [
            line
            for place, pair in enumerate(zip(then, now, strict=True))
            for line in differences(*pair, f"{where}[{place}]")
        ]
    return [] if then == now else [f"{where}: {then!r} is now {now!r}"]


def main(wanted: list[str]) -> int:
    for name in wanted:
        text = json.dumps(PROMISES[name](), indent=1, sort_keys=True, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    if not wanted:
        found = [
            f"{name}{line}"
            for name, promise in PROMISES.items()
            for line in differences(recorded(name), promise())
        ]
        print("\n".join(found) or "Nothing has changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
