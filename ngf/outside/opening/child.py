"""The process that opens one checkpoint: `python -m ngf.outside.opening.child`. It shuts itself in,
looks, and leaves two files in a folder of the caller: the weights as safetensors, and in JSON what
it saw or why it refused.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO, Any

from ngf.outside.opening import confine, safetensors_file
from ngf.outside.opening.look import look
from ngf.outside.opening.refusal import Ask, Limits, NotOpened

ANSWER, TENSORS = "seen.json", "tensors.safetensors"
ANSWER_BYTES = 64 * 2**20  # 20,000 names of 300 characters, several times


def answer(source: IO[bytes], pick: str, limits: Limits, tensors: IO[bytes]) -> dict[str, Any]:
    """What `source` holds, as plain JSON; its weights go to `tensors`."""
    try:
        seen = look(source, os.fstat(source.fileno()).st_size, pick, limits)
        safetensors_file.write(tensors, seen.tensors, seen.load())
    except Ask as error:
        return {"ask": list(error.options)}
    except NotOpened as error:
        return {"refused": str(error), "advice": error.advice}
    except MemoryError:
        return {"limit": "memory"}
    return {
        "form": {
            "container": seen.container,
            "path": list(seen.path),
            "prefix": seen.prefix,
            "dtypes": seen.dtypes,
        },
        "tensors": {
            name: [planned.dtype, list(planned.size)] for name, planned in seen.tensors.items()
        },
        "notes": list(seen.notes),
        "extra": seen.extra,
    }


def main() -> None:
    """Open the file that the arguments name: a descriptor or a path, the folder for the answer, the
    limits as JSON, and what to pick.
    """
    given, folder, text, pick = sys.argv[1:]
    limits = Limits(**json.loads(text))
    os.umask(0o077)
    confine.leave_network()
    import torch

    torch.set_num_threads(1)
    with (
        open(int(given) if given.isdecimal() else given, "rb") as source,
        open(Path(folder, TENSORS), "wb") as tensors,
        open(Path(folder, ANSWER), "w", encoding="utf-8") as said,
    ):
        output = limits.tensor_bytes + limits.structure_bytes + ANSWER_BYTES
        missing = confine.set_limits(limits, output)
        confine.shut()
        json.dump(answer(source, pick, limits, tensors) | {"unlimited": missing}, said)


if __name__ == "__main__":
    main()
