"""Check, draw, count, convert, split and merge annotations, before a model is trained with them.

    roilab data COMMAND --help     what a command takes

Every command reads all kinds of VIA file (JSON, CSV and projects of VIA 1, 2 and 3) and COCO json,
told apart by content. The exit status is 0, 1 where something is left out (an error), and 2 after a
mistake on the command line.
"""

import importlib

from roilab.cli.options import error_with_options
from roilab.cli.parser import Parser
from roilab.errors import UserError

COMMANDS = {
    "check": "list what is wrong in files and with their images",
    "stats": "count images, classes, sizes and keypoints, on the terminal or as a page",
    "draw": "draw contact sheets of the ground truth",
    "convert": "write a file as another kind: VIA project, JSON, CSV, or COCO",
    "split": "divide a file into train and val",
    "merge": "join files into one project",
    "skeleton": "propose a skeleton from the points of a file",
}


def main(arguments: list[str]) -> int:
    """Find the command, and leave the rest to it."""
    width = max(map(len, COMMANDS)) + 2
    listed = "\n".join(f"  {name:<{width}}{text}" for name, text in COMMANDS.items())
    parser = Parser(prog="roilab data", description=f"{__doc__}\ncommands:\n{listed}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the above")
    name = parser.parse_args(arguments[:1]).command
    # Only the command in question is imported: some need Detectron2, which takes seconds.
    command = importlib.import_module(f"roilab.cli.data_commands.{name}")
    common = importlib.import_module("roilab.cli.data_commands.common")
    own = Parser(prog=f"{parser.prog} {name}", description=command.__doc__)
    command.add_arguments(own)
    try:
        return int(command.main(own.parse_args(arguments[1:])))
    except UserError as error:
        raise error_with_options(error, common.OPTIONS) from error
