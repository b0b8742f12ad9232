"""Command lines whose options and other words may stand in any order."""

import argparse
import difflib
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.[\w-]+)+=")

_ANNOTATIONS = (".json", ".csv")  # of files that need not be there yet


def is_override(word: str) -> bool:
    """Whether a word is a `key=value` of a config, and not the name of a file."""
    return _OVERRIDE.match(word) is not None and not Path(word).exists()


class Parser(argparse.ArgumentParser):
    """A parser that keeps its description's lines and names the nearest option to an unknown one.

    An option of several values ends before an override. Where these are folders or pairs by its
    metavar (`--images DIR DIR`, `--slurm KEY=VALUE`), it ends before a file, or what is no pair.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """The arguments; leaves the program where they cannot be read."""
        words = sys.argv[1:] if args is None else args
        self._refuse_unknown(words)
        found, unknown = self.parse_known_intermixed_args(self._in_order(words), namespace)
        if unknown:
            self.error(f"not understood: {' '.join(unknown)}")
        return found

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        """Name the nearest option before any that is required is missed."""
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if word.startswith("--") and not self._options(name):
                self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        options = [each for each in self._option_string_actions if each.startswith("--")]
        near = difflib.get_close_matches(name, options, n=1)
        self.error(f"unknown option {name}; {f'perhaps {near[0]}' if near else '--help lists all'}")

    def _options(self, name: str) -> list[str]:
        """The options that a word names, which may be the beginning of one."""
        known = self._option_string_actions
        return [name] if name in known else [each for each in known if each.startswith(name)]

    def _in_order(self, words: Sequence[str]) -> list[str]:
        """The words, those behind the values of an option of several moved before it."""
        ordered: list[str] = []
        at = 0
        while at < len(words) and words[at] != "--":
            word, at = words[at], at + 1
            names = self._options(word) if word.startswith("--") else []
            action = self._option_string_actions[names[0]] if len(names) == 1 else None
            if action is None or action.nargs != "+":
                ordered.append(word)
                continue
            values = []
            while at < len(words) and not words[at].startswith("-"):
                values.append(words[at])
                at += 1
            others = [each for each in values if not _fits(action, each)]
            if len(others) == len(values):
                others = []  # an option has a value, if a wrong one
            ordered += [*others, word, *(each for each in values if each not in others)]
        return [*ordered, *words[at:]]


def add_trust(parser: argparse.ArgumentParser) -> None:
    """The option that `roilab.engine.trusted.allow` takes."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="NAME",
        help="let run folders name your own part (package.module.name, all of package.module, or a "
        ".py file that registers data), from now on",
    )


def add_max_memory(parser: argparse.ArgumentParser) -> None:
    """The option that bounds the memory of an image's work."""
    parser.add_argument(
        "--max-memory",
        type=_bytes,
        metavar="GB",
        help="refuse images whose work may take more (default: more than is available)",
    )


def _bytes(text: str) -> int:
    try:
        size = float(text)
    except ValueError:
        size = 0
    if not 0 < size < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of gigabytes")
    return int(min(size, 1e9) * 1e9)  # no machine has 1e9 GB


def _fits(action: argparse.Action, word: str) -> bool:
    """Whether a word can be a value of an option of several."""
    if is_override(word) or (action.metavar == "KEY=VALUE" and "=" not in word):
        return False
    path = Path(word)
    is_file = path.is_file() or path.suffix.lower() in _ANNOTATIONS
    return path.is_dir() or not is_file or action.metavar != "DIR"
