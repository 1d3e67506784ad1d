"""Finds the plug-ins (one file each) and describes their fields, so that nothing else has to list
them.

A plug-in is a file in one of the folders of `FOLDERS` that defines one frozen dataclass with a
`title` and the folder's verb. Its name is the file's; the form on the page, the command line and
the JSON Schema follow from its fields. Other files there are what plug-ins share.

Importing this module imports no torch. `load` (which does) imports a plug-in; `describe` imports
them all; `catalogue` gives the same description as plain JSON from a cache that a child process
fills, for processes that must stay light, such as the web server.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from ngf.config import REVISION, Choice
from ngf.options import SpecError, check_value, describe_field
from ngf.places import ROOT, cache_dir, child_environment, data_dir

# kind of plug-in -> (package, verb)
FOLDERS = {
    "data": ("ngf.data", "load"),
    "attacks": ("ngf.attacks", "apply"),
    "defenses": ("ngf.defenses", "purify"),
    "measurements": ("analysis.measurements", "measure"),
}


def names(kind: str) -> list[str]:
    """Names of the plug-ins of a kind, found by reading files, not by running them."""
    return sorted(path.stem for path in _files(kind) if _is_plugin(path))


def _files(kind: str) -> Iterator[Path]:
    package, _ = FOLDERS[kind]
    return ROOT.joinpath(*package.split(".")).glob("*.py")


def _is_plugin(path: Path) -> bool:
    """Whether a file defines a dataclass with a `title`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        any("dataclass" in ast.unparse(item) for item in node.decorator_list)
        and any(
            isinstance(item, ast.AnnAssign)
            and ast.unparse(item.target) == "title"
            and item.value is not None
            for item in node.body
        )
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    )


def load(kind: str, name: str) -> type:
    """The plug-in class. Raises SpecError with the allowed names."""
    package, verb = FOLDERS[kind]
    if not any(path.stem == name and _is_plugin(path) for path in _files(kind)):
        raise _unknown(kind, name, names(kind))
    module = importlib.import_module(f"{package}.{name}")
    found: list[type] = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and is_dataclass(cls) and "title" in vars(cls)
    ]
    if len(found) != 1 or not callable(getattr(found[0], verb, None)):
        raise TypeError(
            f"{module.__name__} must define one dataclass with a title and {verb}(), found "
            f"{', '.join(cls.__name__ for cls in found) or 'none'}."
        )
    return found[0]


def _unknown(kind: str, name: str, known: Iterable[str]) -> SpecError:
    singular = {"data": "data set"}.get(kind, kind[:-1])
    return SpecError(f"Unknown {singular} {name!r}. Allowed: {', '.join(sorted(known))}.")


def build(kind: str, choice: Choice, revision: int = REVISION) -> Any:
    """An instance of the plug-in with its options checked. Raises SpecError.

    revision: of the specification that the choice is from.
    """
    cls = load(kind, choice.name)
    about = {item.name: describe_field(item) for item in fields(cls)}
    former = _former(getattr(cls, "former", {}), revision)
    return cls(**{**former, **_check_options(choice, about)})


def normalize(kind: str, choice: Choice) -> Choice:
    """The same choice with options checked, typed, and defaults left out (imports no torch)."""
    known = catalogue()[kind]
    if choice.name not in known:
        raise _unknown(kind, choice.name, known)
    about = {item["name"]: item for item in known[choice.name]["fields"]}
    options = _check_options(choice, about)
    return Choice(
        choice.name,
        {key: value for key, value in options.items() if value != about[key]["default"]},
    )


def options_of(kind: str, choice: Choice, revision: int = REVISION) -> dict[str, Any]:
    """All options of a plug-in: those of the choice, and the defaults of the others; of one that is
    not installed, those of the choice.

    revision: of the specification that the choice is from.
    """
    about = catalogue()[kind].get(choice.name, {})
    defaults = {item["name"]: item["default"] for item in about.get("fields", [])}
    return {**defaults, **_former(about.get("former", {}), revision), **choice.options}


def _former(former: Mapping[str, Any], revision: int) -> Mapping[str, Any]:
    """The defaults that a plug-in had in specifications of this revision, where others than now."""
    return former if revision < REVISION else {}


def _check_options(choice: Choice, about: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    unknown = sorted(set(choice.options) - set(about))
    if unknown:
        allowed = ", ".join(about) or "none"
        raise SpecError(f"{choice.name} has no option {', '.join(unknown)}. Allowed: {allowed}.")
    return {
        key: check_value(choice.name, key, value, about[key])
        for key, value in choice.options.items()
    }


def describe() -> dict[str, dict[str, Any]]:
    """Everything that can be chosen, as plain JSON. Imports torch and every plug-in."""
    from ngf.models import describe_models

    out: dict[str, dict[str, Any]] = {"models": describe_models()}
    for kind in FOLDERS:
        out[kind] = {}
        for name in names(kind):
            cls = load(kind, name)
            described = [describe_field(item) for item in fields(cls)]
            out[kind][name] = {
                "title": getattr(cls, "title", name),
                "summary": (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " "),
                "about": inspect.getdoc(sys.modules[cls.__module__]) or "",
                "fields": described,
                "schema": json_schema(described),
                **({"former": dict(found)} if (found := getattr(cls, "former", {})) else {}),
                **({"phases": list(map(asdict, found))} if (found := _phases(cls)) else {}),
                **({"paper": asdict(found)} if (found := getattr(cls, "paper", None)) else {}),
                **(_of_attack(cls) if kind == "attacks" else {}),
                **(_of_measurement(cls) if kind == "measurements" else {}),
                **getattr(cls, "note", {}),
                **(facts if isinstance(facts := getattr(cls, "facts", {}), dict) else {}),
            }
    for entries in out.values():
        for about in entries.values():
            about["short"] = about["title"].split(" (")[0]  # without its parenthesis
    return out


def _phases(cls: Any) -> tuple[Any, ...]:
    """The phases of a defense whose steps are not all alike."""
    return getattr(cls, "phases", ())


def _of_attack(cls: type) -> dict[str, Any]:
    """What an attacker must be able to do, and what the ASR then is."""
    from ngf.attacks.base import Attack, InLoop, Prepared

    assert issubclass(cls, Attack), f"{cls.__name__} must be an Attack"
    return {
        "clean_label": cls.clean_label,
        "learned": cls.learned,
        "prepared": issubclass(cls, Prepared),
        "controlled": issubclass(cls, InLoop),
        "asr_definition": cls().asr_definition(),
        "resembles": list(cls.resembles),
    }


def _of_measurement(cls: Any) -> dict[str, Any]:
    """What it takes beside a model and images, where that depends on an option, and its picture.

    `needs_with`: option -> value -> what is needed then.
    """
    plain = asdict(cls().needs())
    other: dict[str, dict[str, Any]] = {}
    for item in fields(cls):
        for value in item.metadata.get("choices") or ():
            found = asdict(cls(**{item.name: value}).needs())
            if found != plain:
                other.setdefault(item.name, {})[value] = found
    picture = None if cls.picture is None else asdict(cls.picture)
    return {"needs": plain, "needs_with": other, "picture": picture}


def json_schema(described: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a plug-in's options."""
    kinds = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}
    properties = {}
    for item in described:
        entry: dict[str, Any] = {
            "type": kinds[item["type"]],
            "default": item["default"],
            "description": item["help"],
        }
        for key, word in (("ge", "minimum"), ("le", "maximum"), ("choices", "enum")):
            if item[key] is not None:
                entry[word] = item[key]
        properties[item["name"]] = entry
    return {"type": "object", "properties": properties, "additionalProperties": False}


@functools.cache
def catalogue() -> dict[str, dict[str, Any]]:
    """`describe()` as this process can have it without importing torch: from a cache on disk.

    The cache is keyed by the source of all plug-ins, so a new or edited file is seen at the next
    start.
    """
    path = _cache_path()
    if not path.exists():
        _fill(path)
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _fill(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ngf", "catalogue", "--json"],
        env=child_environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise RuntimeError(f"The list of plug-ins could not be made:\n{done.stderr}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(done.stdout)
    os.replace(temporary, path)


def _cache_path() -> Path:
    digest = hashlib.sha256()
    for package in ("ngf", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return cache_dir() / f"catalogue-{digest.hexdigest()[:16]}.json"


def missing_files(name: str) -> list[str]:
    """What data set `name` needs and does not find under `data_dir()`, by the first place
    looked at.
    """
    wanted = catalogue()["data"][name].get("files", [])
    return [
        places[0] for places in wanted if not any((data_dir() / place).exists() for place in places)
    ]
