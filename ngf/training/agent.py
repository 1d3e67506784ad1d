"""`torchrun` with an answer: `python -m ngf.training.agent COUNT MODULE ARGUMENT` starts so many
processes `python -m MODULE ARGUMENT`, which find each other by `ngf.training.team.joined`.

`torchrun` itself tells people which process has failed, by what it prints. This tells its caller:
the processes that did not end well, as JSON on standard output. What anybody prints goes to
standard error.

Changed: they meet in a file. By default `torchrun` listens on ports for the whole network, and
unpickles what it is told there.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import get_args_parser, run

from ngf.runs.lifeline import when_cut
from ngf.training.team import MEETING


def main(count: str, module: str, argument: str) -> int:
    when_cut(lambda: os._exit(1))  # the processes see it themselves
    answer = os.dup(1)
    os.dup2(2, 1)
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # the second of the ports
    with tempfile.TemporaryDirectory() as folder:
        os.environ[MEETING] = os.path.join(folder, "meeting")
        words = ["--nnodes=1", f"--nproc-per-node={count}", "--local-addr=localhost"]
        words += ["--rdzv-backend=c10d", f"--rdzv-endpoint={folder}/rendezvous", "--rdzv-id=ngf"]
        words += ["--rdzv-conf=store_type=file", f"--log-dir={folder}", "--module"]
        try:
            run(get_args_parser().parse_args([*words, module, argument]))
        except SignalException:
            return 0  # the first process has saved what there was to save
        except ChildFailedError as failed:
            os.write(answer, json.dumps([_end(*end) for end in failed.failures.items()]).encode())
            return 1
    return 0


def _end(rank: int, failure: ProcessFailure) -> dict[str, object]:
    """One of `ends` of `ngf.training.several.failure`."""
    told = failure.error_file_data if "kind" in failure.error_file_data else None
    return {
        "rank": rank,
        "code": failure.exitcode,
        "time": told["time"] if told else failure.timestamp,
        "error": told,
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
