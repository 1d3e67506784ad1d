"""The tables and figures of README.md, made from assets and benchmarks/results.

What stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->` is made here; everything else in
README.md is left as it is. Numbers come from files; numbers that say what a benchmark is (the size
of its problem) may stand in the words of its row where its file does not have them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import RESULTS
from evidence import readme_arena, readme_checkup, readme_methods, readme_sharpness
from evidence.computing import Failed
from evidence.markdown import machine, markdown, one, wrapped
from evidence.shipped import README, SUMMARY, read
from ngf.runs.files import write_atomic

# ---- claims


def claims() -> str:
    told = [
        f"- *{item['claim']}* **{item['verdict']}.** {item['short']}"
        for item in read(SUMMARY)["claims"]
    ]
    return "\n".join(told) or "Not measured yet."


# ---- how fast


def rounded(value: float) -> str:
    """A number with two digits that count: 2214 is 2,200 and 4.54 is 4.5."""
    decimals = 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def bench(name: str) -> Any:
    return read(RESULTS / f"{name}.json")


def bench_machine() -> str:
    found = [path.stem for path in sorted(RESULTS.glob("*.json"))]
    environments = [of["environment"] for of in map(bench, found) if "environment" in of]
    return wrapped(
        f"{machine(environments, 'shared ')}; medians of runs of `make bench`, which writes "
        "`benchmarks/results`."
    )


def speed() -> str:
    """The rows' sources: benchmarks/results/<function>.json."""
    rows = [*curvature(), *surfaces(), *training_speed(), *poisoning(), *data(), *live()]
    return markdown(("what", "against", "ratio"), rows)


def curvature() -> list[tuple[str, str, str]]:
    found = bench("curvature")
    certificate = found["certificate"]
    relative = certificate["certified_error"] / certificate["lambda_max"]
    products = {item["net"]: item["hvp_in_gradients"] for item in found["hvp"]}
    tiny, large = (rounded(products[name]) for name in ("preact_resnet_tiny", "preact_resnet18"))
    return [
        (
            f"Tr(H) to the same error (over {found['ours']['seeds']} seeds), λmax and spectral "
            f"density, tiny net, {found['images']} images",
            "PyHessian 0.1",
            f"{rounded(found['times_less_than_pyhessian'])} times less time",
        ),
        (
            "the same",
            "curvlinops (eigsh, xtrace, its spectrum)",
            f"{rounded(found['times_less_than_curvlinops'])} times less time",
        ),
        (
            f"λmax with a certificate of {100 * relative:.0f} %, {certificate['images']} images",
            "–",
            f"{certificate['hvps']} Hessian-vector products",
        ),
        (
            "one Hessian-vector product in gradients: tiny net, ResNet-18",
            "floor 2.0",
            f"{tiny}, {large}",
        ),
    ]


def surfaces() -> list[tuple[str, str, str]]:
    found = bench("surfaces")
    last, network = found["last_layer"], found["network"]
    side = math.isqrt(last["points"])
    forward = rounded(found["last_layer_against_forward"]["ratio"])
    return [
        (
            f"last layer, 512 to {last['classes']}, on a plane of {side}x{side}, "
            f"n = {last['images']}",
            "a forward pass for each point",
            f"{last['seconds']:.2f} s in all, {forward} times",
        ),
        (
            f"whole tiny net on a plane, {network['images']} images, each point",
            "the usual loop",
            f"{rounded(network['ratio'])} times",
        ),
        (
            "the same when only later layers move",
            "whole network",
            f"{rounded(found['frozen_part']['ratio'])} times",
        ),
    ]


def training_speed() -> list[tuple[str, str, str]]:
    found = bench("training_speed")
    name = {"preact_resnet18": "PreActResNet18"}[found["model"]]
    return [
        (
            f"training {name}, batches of {found['batch_size']}, "
            f"{found['environment']['device'].upper()}",
            f"DataLoader with PIL transforms, {found['workers']} workers",
            f"{rounded(found['ratio'])} times the images a second",
        )
    ]


def poisoning() -> list[tuple[str, str, str]]:
    found = bench("poisoning")
    shown = [found["attacks"][name] for name in ("badnets", "blend", "sig", "wanet")]
    side, count = found["size"], one(item["images"] for item in shown)
    return [
        (
            f"putting a trigger on {count:,} images of {side}x{side}: BadNets, Blend, SIG, WaNet",
            "a loop over PIL images",
            f"{', '.join(rounded(item['ratio']) for item in shown)} times",
        )
    ]


def data() -> list[tuple[str, str, str]]:
    found = bench("data")
    decoding, memory = found["decoding"], found["memory"]
    peak = memory["stages"]["prepared"]["peak_mb"] / 1e3
    held = memory["stages"]["poisoned"]["anonymous_mb"] / 1e3
    return [
        (
            f"decoding {decoding['from']} JPEG files to {decoding['to']}",
            "DataLoader",
            f"{rounded(decoding['ratio'])} times the images a second",
        ),
        (
            f"preparing {memory['files'] / 1e6:.2f} million files as ImageNet has them",
            "–",
            f"peak of {peak:.1f} GB; 100,000 images of {decoding['to']}, poisoned, then hold "
            f"{held:.1f} GB and pages of files",
        ),
    ]


def live() -> list[tuple[str, str, str]]:
    """Times in the browser, which have no peer."""
    found = bench("live")
    told = {
        "a trigger changed in the studio, new attack success on 500 images on the screen": (
            "trigger_change_to_rate_seconds"
        ),
        "a press on Start in the Lab, first point on the screen": "click_to_first_point_seconds",
        "a press on Measure on the Geometry page, first curve": "click_to_first_picture_seconds",
    }
    rows = [(what, "–", f"{found[key]:.1f} s") for what, key in told.items()]
    return [*rows, *first_look()]


def first_look() -> list[tuple[str, str, str]]:
    """What a visitor waits for on pages that ship measured, and what live curvature costs."""
    found = bench("first_look")
    told = {
        "the address of Start, three panels and a ball that moves": "start_to_ball_seconds",
        "the address of Geometry, all pictures": "geometry_all_pictures_seconds",
        "a trigger changed in the studio beside a long measurement": (
            "probe_beside_long_measurement_seconds"
        ),
    }
    slower = "a race with curvature measured along both lanes"
    return [
        *((what, "–", f"{found[key]:.1f} s") for what, key in told.items()),
        (slower, "the same race alone", f"{found['slowdown']:.2f}x the time"),
    ]


# ---- the step

PARTS: dict[str, Callable[[], str]] = {
    **readme_arena.PARTS,
    **readme_checkup.PARTS,
    **readme_methods.PARTS,
    **readme_sharpness.PARTS,
    "claims": claims,
    "machine": bench_machine,
    "speed": speed,
}
_MARKER = re.compile("<!-- (?:begin|end): ")
_PART = re.compile(r"(<!-- begin: (?P<name>[^>]*?) -->\n).*?(\n<!-- end: (?P=name) -->)", re.DOTALL)


def renewed(text: str, parts: Mapping[str, Callable[[], str]] = PARTS) -> str:
    """`text` with every part made anew. Raises `Failed` when its markers are not those of `parts`,
    each once.
    """
    names = [found["name"] for found in _PART.finditer(text)]
    if sorted(names) != sorted(parts) or len(_MARKER.findall(text)) != 2 * len(parts):
        raise Failed(
            f"README.md needs the markers of these parts, once each: {', '.join(parts)}. "
            f"It has {', '.join(names) or 'none'}."
        )
    return _PART.sub(lambda found: f"{found[1]}{parts[found['name']]()}{found[3]}", text)


def missing() -> list[str]:
    """README.md, when it is not what the files say."""
    text = README.read_text(encoding="utf-8")
    return [README.name] if renewed(text) != text else []


def make(name: str) -> None:
    write_atomic(README, renewed(README.read_text(encoding="utf-8")))
    print(f"{name}: renewed", flush=True)
