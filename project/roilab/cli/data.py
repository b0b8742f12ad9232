"""Check, draw, count, convert, split and merge annotations, propose skeletons, draw batches.

    roilab data COMMAND --help     lists the arguments of a command

Every command reads all kinds of VIA file (JSON, CSV and projects of VIA 1, 2 and 3) and COCO json,
and detects the kind by content; `augmented` takes the config of a training, which names the files.
The exit status is 1 where something is left out (an error), 2 after a mistake on the command line,
and otherwise 0.
"""

import importlib
import inspect

from roilab.cli.arguments import DATA_COMMANDS, listing, parser_of
from roilab.cli.console import error_with_options
from roilab.errors import UserError

# Of `roilab.cli`; the other commands are in data_files.
_MODULES = {
    **dict.fromkeys(("check", "stats", "draw"), "data_report"),
    "augmented": "data_augmented",
}


def main(arguments: list[str]) -> int:
    """Find the command, and leave the rest to it."""
    description = f"{__doc__}\ncommands:\n{listing(DATA_COMMANDS)}"
    name = parser_of("data", description).parse_args(arguments[:1]).command
    part = _MODULES.get(name, "data_files")
    command = getattr(importlib.import_module(f"roilab.cli.{part}"), name)
    args = parser_of(f"data {name}", inspect.getdoc(command)).parse_args(arguments[1:])
    try:
        return int(command(args))
    except UserError as error:
        if name == "augmented":  # its messages name keys of a config
            raise
        from roilab.cli.data_common import OPTIONS  # not needed to list the arguments

        raise error_with_options(error, OPTIONS) from error
