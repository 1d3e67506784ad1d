"""The words of `ngf sweep`, apart from what it does: `ngf --help` imports nothing else."""

from __future__ import annotations

from ngf.terminal import Parser

HELP = (
    "run every combination of some axes: FILE (JSON, see docs/sweeps.md, or the name of a known "
    "one, such as `radii`), or `list`, and `show`, `pause`, `cancel` or `resume NAME`; what is "
    "done already is not computed again"
)


def add_arguments(parser: Parser) -> None:
    parser.add_argument("words", nargs="+", metavar="FILE")
    parser.add_settings("an axis more, or other values of one", "PATH=VALUE,VALUE")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be run")
    parser.add_argument("--detach", action="store_true", help="only put all of it into the queue")
    parser.add_argument("--jobs", type=int, help="runs at a time; the default is one for each core")
    parser.add_argument(
        "--executor",
        choices=("local", "dask"),
        help="where: on this machine (the default), or on the workers of a Dask scheduler "
        "(docs/cluster.md)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="of Dask, tcp://HOST:8786, or its scheduler file"
    )
    parser.add_argument("--yes", action="store_true", help="also more than 1,000 runs")
