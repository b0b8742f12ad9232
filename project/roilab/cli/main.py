"""The command `roilab`: it finds the subcommand, and leaves the rest to its module."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import roilab
from roilab.cli.console import exit_with, set_up

# In the order in which they are used; the modules of `roilab.cli` have their names.
COMMANDS = {
    "figures": "draw the sample set, and a video of it",
    "data": "check, draw, count, convert, split and merge annotations, before a training",
    "train": "train a model from a lazy config and evaluate it",
    "evaluate": "evaluate a run folder: AP, and what is behind it",
    "predict": "find instances in images or a video, and draw them",
    "app": "open a page in the browser that shows what a run finds",
    "sweep": "train the arms of an ablation with several seeds, and compare them",
    "export": "export a trained model to a file that runs without RoILab",
    "config": "show a config as it is used, or what two configs differ in",
    "doctor": "try the installation, or verify a run folder",
}


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the subcommand that the command line names, and exit with its status."""
    listed = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="roilab",
        usage="roilab COMMAND ...",
        description="Mask R-CNN and Keypoint R-CNN on images that were annotated in VIA.",
        epilog=f"commands:\n{listed}\n\n`roilab COMMAND --help` says what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"roilab {roilab.__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    words = sys.argv[1:] if words is None else words
    run(parser.parse_args(words[:1]).command, words[1:])


def run(command: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a subcommand, and exit with its status; `arguments` are by default those of a script."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    exit_with(partial(call, f"roilab.cli.{command}", "main", given))


def call(module: str, function: str, *arguments: Any) -> Any:
    """Call a function of a module that is imported only once the console is set up.

    A process that is begun for a training calls its own function through this, since Detectron2
    gives warnings when it is imported.
    """
    set_up()
    return getattr(importlib.import_module(module), function)(*arguments)
