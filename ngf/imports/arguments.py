"""The words of `ngf import`, apart from what it does: `ngf --help` imports nothing else."""

from __future__ import annotations

from ngf.terminal import Parser

HELP = (
    "bring a model from elsewhere, with a few clean images: what it is and what it wants to see is "
    "found out and told; what is not clear is asked, and nothing is imported before"
)


def add_arguments(parser: Parser) -> None:
    parser.add_argument("file", nargs="?", help=".pt, .pth, .bin or .safetensors: weights only")
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="PATH",
        default=[],
        help="a folder or a zip with a folder of images for each class, an npz, files, or a data "
        "set such as signs:500",
    )
    parser.add_argument(
        "--poisoned",
        metavar="NPZ",
        help="images that carry the trigger, where you have some: `images` uint8, `label` (true), "
        "and `target`; the attack success rate is then measured",
    )
    parser.add_argument("--model", default="", help="the network, where several fit or none does")
    parser.add_argument("--models", action="store_true", help="list the networks that are known")
    parser.add_argument("--pick", default="", help="which of several models in the file")
    parser.add_argument(
        "--normalize",
        default="",
        help="imagenet, cifar10, half, none, or mean and standard deviation by channel in [0, 1], "
        "such as 0.5,0.5,0.5/0.2,0.2,0.2; the default is what does best on the images",
    )
    parser.add_argument("--size", type=int, default=0, help="of the input, in pixels of a side")
    parser.add_argument(
        "--resize",
        choices=("squeeze", "crop"),
        help="what happens to images that are no squares",
    )
    parser.add_argument(
        "--classes", metavar="FILE", help="names of the outputs in their order, one a line"
    )
    parser.add_argument(
        "--expect",
        type=float,
        default=70.0,
        metavar="PERCENT",
        help="clean accuracy below which it asks; the default is 70",
    )
    parser.add_argument(
        "--measure",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="of the images, to measure on; the others are the defender's; the default is 0.25",
    )
    parser.add_argument(
        "--mirror", action="store_true", help="a mirrored image still belongs to its class"
    )
    parser.add_argument(
        "--accept", action="store_true", help="take what is proposed in place of asking"
    )
    parser.add_argument("--look", action="store_true", help="find out and tell, import nothing")
    parser.add_argument("--owner", default="", help="whose it is, for the dashboard")
