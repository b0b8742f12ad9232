"""The parser of command lines: words in any order, types by metavar, the nearest known option."""

import argparse
import contextlib
import difflib
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# An argument by its usage, its text for --help, and options of `add_argument`. The usage begins
# with the option, or with the name of a positional argument: a switch, `--option VALUE`, or
# `--option VALUE ...`; the name of the value tells its type, see `_TYPES`. Of arguments with the
# same `one_of`, one is given. A text alone is the title of the group of the arguments after it.
Argument = tuple[str, str, dict[str, Any]] | str

_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.[\w-]+)+=")
_ANNOTATIONS = (".json", ".csv")  # suffixes of annotation files, which need not exist


def output_file(text: str) -> Path:
    """The type of an argument that names a file to write.

    Raises:
        argparse.ArgumentTypeError: it is empty, or a folder.
    """
    path = Path(text)
    if not path.name or path.is_dir():
        what = "a folder" if text else "empty"
        raise argparse.ArgumentTypeError(f"{text!r} is {what}, give the name of a file")
    return path


def score(text: str) -> float:
    """The type of an argument that is a score, from 0 to 1."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no score, a number from 0 to 1")


# Of values of arguments, by their names in a usage; others are text.
_TYPES = {"N": int, "SCORE": score, "SHARE": float, "DIR": Path, "FILE": Path, "OUT": output_file}


class Parser(argparse.ArgumentParser):
    """A parser that takes words in any order and suggests the nearest option.

    The values of an option of several end before an override. Where they are folders or pairs by
    the metavar (`--images DIR DIR`, `--slurm KEY=VALUE`), they end before a file or a word that is
    no pair.
    """

    def add_all(self, arguments: Iterable[Argument]) -> None:
        """Add the arguments of a command, see `Argument`."""
        group: argparse._ActionsContainer = self
        alternatives: dict[str, argparse._ActionsContainer] = {}
        for argument in arguments:
            if isinstance(argument, str):
                group = self.add_argument_group(argument)
                continue
            usage, text, options = argument
            name, *values = usage.split()
            options = dict(options)
            place = group
            one_of = options.pop("one_of", None)
            if one_of is not None:
                required = options.pop("required", False)
                if one_of not in alternatives:
                    alternatives[one_of] = self.add_mutually_exclusive_group(required=required)
                place = alternatives[one_of]
            if values:
                options["metavar"] = values[0]
                if values[0] in _TYPES:
                    options.setdefault("type", _TYPES[values[0]])
            elif name.startswith("--") and not options:
                options["action"] = "store_true"
            if values[1:]:
                options["nargs"] = "+"
            if options.get("default", "") not in ("", []):
                text += " (default: %(default)s)"
            place.add_argument(name, help=text, **options)

    def parse_args(self, words: Sequence[str]) -> Any:  # type: ignore[override]
        """Parse the arguments; exits with status 2 where they cannot be understood."""
        self._refuse_unknown(words)
        namespace, unknown = self.parse_known_intermixed_args(self._in_order(words))
        if unknown:
            self.error(f"not understood: {' '.join(unknown)}")
        return namespace

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        """Suggest the nearest option, before a required option is missed."""
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if word.startswith("--") and not self._options(name):
                options = [known for known in self._option_string_actions if known[:2] == "--"]
                near = difflib.get_close_matches(name, options, n=1)
                hint = f"perhaps {near[0]}" if near else "--help lists all"
                self.error(f"unknown option {name}; {hint}")

    def _options(self, name: str) -> list[str]:
        """The options that a word names; it may be the beginning of an option."""
        known = self._option_string_actions
        return [name] if name in known else [option for option in known if option.startswith(name)]

    def _in_order(self, words: Sequence[str]) -> list[str]:
        """The words, with those that are no values of an option of several moved before it."""
        ordered: list[str] = []
        start = 0  # of the options of several, with their values, that end `ordered`
        rest = list(words)
        while rest and rest[0] != "--":
            word = rest.pop(0)
            names = self._options(word) if word.startswith("--") else []
            action = self._option_string_actions[names[0]] if len(names) == 1 else None
            if action is None or action.nargs != "+":
                ordered.append(word)
                start = len(ordered)
                continue
            values = list(itertools.takewhile(lambda value: not value.startswith("-"), rest))
            del rest[: len(values)]
            # An option has a value, even a wrong one.
            own = [value for value in values if _fits(action, value)] or values
            others = [value for value in values if value not in own]
            ordered[start:] = [*others, *ordered[start:], word, *own]
            start += len(others)
        return [*ordered, *rest]


def _fits(action: argparse.Action, word: str) -> bool:
    """Whether a word can be a value of an option of several."""
    path = Path(word)
    if _OVERRIDE.match(word) and not path.exists():
        return False
    if action.metavar == "KEY=VALUE" and "=" not in word:
        return False
    is_file = path.is_file() or path.suffix.lower() in _ANNOTATIONS
    return path.is_dir() or not is_file or action.metavar != "DIR"
