"""The command `roilab`: it finds the subcommand, and leaves the rest to its module.

In the script of the package, the shell completes subcommands, options and names of configs:
`eval "$(register-python-argcomplete roilab)"`. PYTHON_ARGCOMPLETE_OK
"""

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

import roilab
from roilab.cli.arguments import COMMANDS, CONFIG_COMMANDS, DATA_COMMANDS, listing
from roilab.cli.console import exit_with, set_up
from roilab.cli.parser import Argument, Parser
from roilab.files import config_folder


def main() -> NoReturn:
    """Run the subcommand that the command line names, and exit with its status."""
    if "_ARGCOMPLETE" in os.environ:
        complete()
    parser = argparse.ArgumentParser(
        prog="roilab",
        usage="roilab COMMAND ...",
        description="Mask R-CNN and Keypoint R-CNN on images that were annotated in VIA.",
        epilog=f"commands:\n{listing(COMMANDS)}\n\n"
        "`roilab COMMAND --help` lists the arguments of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"roilab {roilab.__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    run(parser.parse_args(sys.argv[1:2]).command, sys.argv[2:])


def run(command: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a subcommand, and exit with its status; `arguments` are by default those of a script."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    exit_with(partial(call, f"roilab.cli.{command}", "main", words))


def call(module: str, function: str, *arguments: Any) -> Any:
    """Call a function of a module that is imported only once the console is set up.

    A process that is begun for a training calls its own function through this, since Detectron2
    gives warnings when it is imported.
    """
    set_up()
    return getattr(importlib.import_module(module), function)(*arguments)


def complete() -> None:
    """Answer the shell, which asks for completions, and exit."""
    import argcomplete  # not needed for anything else

    parser = Parser(prog="roilab")
    commands = parser.add_subparsers()
    for name, (text, *arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        subcommands = {"data": DATA_COMMANDS, "config": CONFIG_COMMANDS}.get(name)
        if subcommands is not None:
            parts = command.add_subparsers()
            for part, (part_text, *part_arguments) in subcommands.items():
                _add_with_names(parts.add_parser(part, help=part_text), part_arguments)
        else:
            _add_with_names(command, arguments)
    argcomplete.autocomplete(parser)


def _add_with_names(command: Parser, arguments: Sequence[Argument]) -> None:
    """Add the arguments of a command, with the names of configs as their completions."""
    command.add_all(arguments)
    for action in command._actions:
        if action.metavar == "CONFIG":
            action.completer = config_names  # type: ignore[attr-defined]


def config_names(prefix: str, **_: Any) -> Iterator[str]:
    """The names of RoILab's configs and sweeps, and the files that begin like a word."""
    from argcomplete.completers import FilesCompleter

    folder = config_folder()
    for path in sorted([*folder.glob("*.py"), *folder.glob("ablations/*.py")]):
        yield str(path.relative_to(folder).with_suffix(""))
    yield from FilesCompleter()(prefix)
