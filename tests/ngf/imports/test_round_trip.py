"""What people bring goes home as it came: import, clean accuracy, a purification, and the way back
into the class that the file is from, for each way in which code saves weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ngf.__main__ import main
from ngf.checkpoints.weights import load_model
from ngf.config import PurifySpec
from ngf.data import load
from ngf.data.images import to_float
from ngf.imports.original import write_original
from ngf.imports.pictures import find
from ngf.imports.preprocessing import NORMALIZATIONS
from ngf.models import build
from ngf.outside import checkpoint
from ngf.outside.opening import child
from ngf.runs.child import execute
from ngf.runs.from_text import lanes_from_text
from ngf.runs.store import Store, TrainRun
from ngf.runs.submit import submit
from tests.helpers.brought import signs_zip, zoo_weights

CLASSES = 12  # of the signs
IMAGES = 60
SMALL = "--size", "32"
LAST = "steps=5", "layer=last", "lr=0.001"  # of a network that only its last layer makes sense of
State = dict[str, Tensor]


def tiny() -> nn.Module:
    """A network of this program, trained: it stands for any, in the containers below."""
    network = build("preact_resnet_tiny", CLASSES)
    network.load_state_dict(zoo_weights())
    return network.eval()


def halved(state: Mapping[str, Tensor]) -> State:
    return {n: v.half() if v.is_floating_point() else v for n, v in state.items()}


def saved(wrap: Callable[[State], Any]) -> Callable[[State, Path], None]:
    return lambda state, path: torch.save(wrap(state), path)


def attack_result(state: State) -> dict[str, Any]:
    """As BackdoorBench saves it: the model beside what its data were."""
    return {
        "model_name": "preactresnet18",
        "num_classes": CLASSES,
        "model": state,
        "data_path": "../data/cifar10",
        "img_size": (32, 32, 3),
        "clean_data": "cifar10",
        "bd_train": {"poison_indicator": np.array([0, 1, 0]), "save_folder_path": "./bd_train"},
        "bd_test": {"poison_indicator": np.array([1, 1, 1]), "save_folder_path": "./bd_test"},
    }


@dataclass(frozen=True)
class Case:
    """network: makes the original class with its weights. write, read: how its code saves a state
    dict and finds it again, with the prefix of its names. words: of `ngf import`. side: of the
    images that the original takes. normalization: what it is fed; none for a network of ours.
    """

    network: Callable[[], nn.Module] = tiny
    write: Callable[[State, Path], None] = saved(lambda state: state)
    read: Callable[[Any], State] = lambda found: found
    prefix: str = ""
    words: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float32
    normalization: str = ""
    side: int = 32
    images: int = IMAGES
    asks: str = ""  # a question, and the answer to it
    settings: tuple[str, ...] = ("steps=5", "layer=all")


def torchvision_network(name: str, side: int = 32) -> Callable[[], nn.Module]:
    return lambda: taught(torchvision.models.get_model(name, num_classes=CLASSES), side)


def timm_network(name: str) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        timm = pytest.importorskip("timm", reason="timm is an extra")
        return taught(timm.create_model(name, num_classes=CLASSES), 32)

    return made


def taught(network: nn.Module, side: int) -> nn.Module:
    """An untrained network whose last layer is fitted (least squares) to the signs as ImageNet's
    normalization shows them: what is right can then be told from what is not.
    """
    images, labels = signs(side)
    last = [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
    found: list[Tensor] = []
    hook = last.register_forward_hook(lambda module, taken, given: found.append(taken[0]))
    fed(network.eval(), images, "imagenet")
    hook.remove()
    features = torch.cat(found).double()
    mean, scale = features.mean(0), features.std(0) + 1e-9
    unit = (features - mean) / scale
    wanted = torch.eye(CLASSES).double()[labels] - 1 / CLASSES
    ridge = unit @ unit.T + 1e-2 * len(unit) * torch.eye(len(unit))
    weight = (unit.T @ torch.linalg.solve(ridge, wanted)).T / scale
    with torch.no_grad():
        last.weight.copy_(10 * weight)
        last.bias.copy_(-10 * weight @ mean)
    return network


@cache
def signs(side: int) -> tuple[Tensor, Tensor]:
    """Images and outputs of `brought`."""
    pictures = find([str(brought(IMAGES))])
    numbers = torch.tensor([int(label) for label in pictures.labels])
    return pictures.decoded(side), numbers[pictures.numbers]


@cache
def brought(count: int) -> Path:
    """A zip of signs, drawn once for all tests."""
    return signs_zip(Path(tempfile.mkdtemp()) / "signs.zip", count)


@torch.no_grad()
def fed(network: nn.Module, images: Tensor, normalization: str) -> Tensor:
    """The logits of uint8 images as the original code would compute them."""
    x = to_float(images)
    if normalization:
        mean, std = (torch.tensor(one).view(3, 1, 1) for one in NORMALIZATIONS[normalization])
        x = (x - mean) / std
    return torch.cat([network(part) for part in x.split(4 if x.shape[-1] > 64 else 64)])


CASES = {
    "plain": Case(),
    "data parallel": Case(
        write=saved(lambda state: {f"module.{name}": value for name, value in state.items()}),
        prefix="module.",
    ),
    "half": Case(write=saved(halved), dtype=torch.float16),
    "wrapped": Case(
        write=saved(
            lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"param_groups": []}}
        ),
        read=lambda found: found["state_dict"],
    ),
    "net, compiled": Case(
        write=saved(
            lambda state: {
                "net": {f"_orig_mod.{name}": value for name, value in state.items()},
                "acc": 91.2,
            }
        ),
        read=lambda found: found["net"],
        prefix="_orig_mod.",
    ),
    "averaged beside it": Case(
        write=saved(
            lambda state: {
                "model": {name: torch.zeros_like(value) for name, value in state.items()},
                "model_ema": state,
            }
        ),
        read=lambda found: found["model_ema"],
        asks="pick=model_ema",
    ),
    "safetensors": Case(write=lambda state, path: save_file(state, path)),
    "BackdoorBench": Case(write=saved(attack_result), read=lambda found: found["model"]),
    "torchvision resnet18": Case(
        torchvision_network("resnet18"), words=SMALL, normalization="imagenet", settings=LAST
    ),
    "torchvision mobilenet_v2": Case(
        torchvision_network("mobilenet_v2"), words=SMALL, normalization="imagenet", settings=LAST
    ),
    "timm regnetx_002": Case(
        timm_network("regnetx_002"), words=SMALL, normalization="imagenet", settings=LAST
    ),
}
# Minutes. The vision transformer takes 224 pixels alone: 20 images, and its input is said.
SLOW = {
    "torchvision densenet121": Case(
        torchvision_network("densenet121"), words=SMALL, normalization="imagenet", settings=LAST
    ),
    "torchvision vit_b_16": Case(
        torchvision_network("vit_b_16", side=224),
        words=("--size", "224", "--normalize", "imagenet"),
        normalization="imagenet",
        side=224,
        images=20,
        settings=(*LAST, "batch_size=8"),
    ),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    root, patch = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch()
    patch.setenv("NGF_RUNS", str(root / "runs"))
    patch.setenv("NGF_DATA", str(root / "data"))
    yield Store(root / "runs")
    patch.undo()


@pytest.fixture
def opened_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are opened in this process, which starts none: the confined one has its own tests."""

    def look(file: Any, path: Path, folder: Path, pick: str, limits: checkpoint.Limits) -> str:
        with (
            open(folder / child.TENSORS, "wb") as tensors,
            open(folder / child.ANSWER, "w", encoding="utf-8") as said,
        ):
            json.dump(child.answer(file, pick, limits, tensors) | {"unlimited": []}, said)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(checkpoint, "_look_apart", look)


@pytest.mark.parametrize("name", CASES)
def test_what_comes_goes_home_as_it_came(
    name: str, home: Store, tmp_path: Path, capsys: Any, one_thread: None, opened_here: None
) -> None:
    round_trip(CASES[name], home, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SLOW)
def test_what_is_large_goes_home_as_it_came(
    name: str, home: Store, tmp_path: Path, capsys: Any, one_thread: None
) -> None:
    round_trip(SLOW[name], home, tmp_path, capsys)


def round_trip(case: Case, home: Store, folder: Path, capsys: Any) -> None:
    torch.manual_seed(0)
    original = case.network()
    came = folder / "model.pth"
    case.write(original.state_dict(), came)
    words = ["import", str(came), "--images", str(brought(case.images)), "--json", *case.words]
    if case.asks:
        assert main(words) == 2
        option, _, answer = case.asks.partition("=")
        (question,) = json.loads(capsys.readouterr().out)["questions"]
        assert question["option"] == option and answer in question["choices"]
        words += [f"--{option}", answer]
    assert main(words) == 0
    run = home.get(json.loads(capsys.readouterr().out)["id"])
    assert isinstance(run, TrainRun)

    measured = load(run.spec.source).test
    logits = fed(original, measured.images, case.normalization)
    right = int((logits.argmax(1) == measured.labels).sum())
    assert right > 0.7 * len(measured)
    assert abs(run.result["ca"] * len(measured) - right) < 1 + 1e-6

    count = run.result["facts"]["pools"]["holdout"]
    race = submit(
        PurifySpec(parent=run.id, lanes=lanes_from_text(["sgd"], case.settings), num_clean=count),
        home,
    )
    assert execute(race) == "done", race.error
    back = folder / "back.pth"
    write_original(home, race.id, back)
    check_home(case, came, back)

    state = {key.removeprefix(case.prefix): value for key, value in case.read(read(back)).items()}
    original.load_state_dict(state, strict=True)
    again = fed(original, measured.images, case.normalization)
    ours = load_model(home, race.id).model
    if case.dtype == torch.float16:
        near = fed(ours, measured.images, "")
        torch.testing.assert_close(again, near, atol=2e-2, rtol=2e-2)
        ours.load_state_dict(halved(ours.state_dict()))
    torch.testing.assert_close(again, fed(ours, measured.images, ""), atol=1e-5, rtol=1e-5)
    assert not torch.equal(again, logits), "something was purified"


def read(path: Path) -> Any:
    """By what is in the file, as the opener does."""
    data = path.read_bytes()
    if data[8:9] == b"{":
        return load_file(path)
    with torch.serialization.safe_globals([*NUMPY]):
        return torch.load(io.BytesIO(data), weights_only=True)


NUMPY = (np._core.multiarray._reconstruct, np.ndarray, np.dtype, type(np.dtype(np.int64)))


def check_home(case: Case, came: Path, back: Path) -> None:
    """Container, names, types and shapes are as they came, of a pickle also the order."""
    assert came.read_bytes()[8:9] == back.read_bytes()[8:9], "safetensors begin with a brace there"
    before, after = (case.read(read(path)) for path in (came, back))
    assert before.keys() == after.keys()
    if came.read_bytes()[:2] == b"PK":
        assert [*before] == [*after]
    for key, value in before.items():
        assert (value.dtype, value.shape) == (after[key].dtype, after[key].shape), key
        if value.is_floating_point():
            assert value.dtype == case.dtype
