"""Write a config that fits a data set and this machine, each line with its reason.

    roilab config suggest --train train.json --images photos --val val.json --output my_config.py
    roilab config suggest --train train.json --images photos --default-class balloon \\
        --output my_config.py train.seed=1
    roilab train --config-file my_config.py

The heads follow from the annotations, the size of the images from that of the objects, and the
augmentation, batch and iterations from the number of images and the machine. Anchors are fitted to
the boxes only where that gains more than two points of the recall that the best anchors allow. What
you ask for on the command line is written as it is and wins; every line of the file can be edited,
and overridden when you train. Paths in it are relative to the folder in which you run this command.
"""

import argparse
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from roilab import via
from roilab.cli import data_common
from roilab.cli.arguments import parser_of
from roilab.cli.console import error_with_options, say
from roilab.engine.overrides import write
from roilab.errors import UserError
from roilab.inference.sources import SUFFIXES
from roilab.suggest.config_file import config_text, write_config
from roilab.suggest.draft import this_machine
from roilab.suggest.suggest import Suggestion, suggest_config

_OPTIONS = {**data_common.OPTIONS, "base": "--base", "files": "--train", "output": "--output"}
_DEFAULTS = via.LabelRules()
_HOW = (
    "Not run so far. Train in that folder, to which the paths are relative. Any key can be edited "
    "here, or overridden on the command line: key=value."
)


def main(arguments: list[str]) -> int:
    args = parser_of("config suggest", __doc__).parse_args(arguments)
    try:
        return suggest(args, shlex.join(["roilab", "config", "suggest", *arguments]))
    except UserError as error:
        raise error_with_options(error, _OPTIONS) from error


def suggest(args: argparse.Namespace, command: str) -> int:
    """Write the config, and print what it says of the data."""
    if args.output.suffix != ".py":
        raise UserError(
            "not the name of a config in Python",
            file=args.output,
            key="output",
            expected="a name that ends with .py",
        )
    data_common.refuse_to_overwrite(args.output, [*args.train, *args.val])
    asked = [*label_overrides(args), *args.overrides]
    with data_common.working("reading the data"):
        suggestion = suggest_config(places_of(args), asked, this_machine(), args.base)
    run = {"train.output_dir": f"outputs/{args.output.stem}"}
    suggestion.draft.add("Run folder", "of the name of this config", run)
    text = config_text(suggestion.draft, *docstring(suggestion, args, command))
    write_config(text, args.output)
    for part in suggestion.draft.parts:
        if part.reason:
            say(part.reason)
    if suggestion.val is None:
        say("warning: there is no validation set, see `roilab data split`", file=sys.stderr)
    say(f"\nconfig: {args.output}")
    say(f"train:  {training_command(args.output)}")
    return 0


def places_of(args: argparse.Namespace) -> dict[str, Any]:
    """The keys of the data, with the files and folders of the options."""
    options: dict[str, list[Path]] = {
        "data.train.files": args.train,
        "data.train.images": args.images,
        "data.val.files": args.val,
        "data.val.images": val_images(args),
    }
    values = {key: list(map(str, paths)) for key, paths in options.items() if paths}
    return {key: texts[0] if len(texts) == 1 else texts for key, texts in values.items()}


def val_images(args: argparse.Namespace) -> list[Path]:
    """The folders of the validation images: those of their files, if all have images beside them.

    Another folder may have images of the same names, which are other pictures.
    """
    if args.val_images or not args.val:
        return args.val_images
    beside = [file.parent for file in args.val]
    has_images = all(
        any(file.suffix.lower() in SUFFIXES for file in folder.glob("*")) for folder in beside
    )
    return beside if has_images else args.images


def label_overrides(args: argparse.Namespace) -> list[str]:
    """The overrides that say the same as the options of label rules."""
    rules = data_common.rules_of(args)
    texts = [
        write(f"data.rules.{field.name}", getattr(rules, field.name))
        for field in fields(rules)
        if getattr(rules, field.name) != getattr(_DEFAULTS, field.name)
    ]
    return texts if args.skeleton is None else [*texts, write("data.skeleton", args.skeleton)]


def training_command(path: Path) -> str:
    """The command that trains with a config, for a shell."""
    return shlex.join(["roilab", "train", "--config-file", str(path)])


def docstring(
    suggestion: Suggestion, args: argparse.Namespace, command: str
) -> tuple[str, list[str]]:
    """The first line and the paragraphs of the file's docstring."""
    title = f"A config for {', '.join(map(str, args.train))}: {suggestion.train.summary()}."
    return title, [
        training_command(args.output),
        f"Written in {Path.cwd()} by: {command}",
        _HOW,
    ]
