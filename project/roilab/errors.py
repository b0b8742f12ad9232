"""The one exception for a user's mistake: it names file, key, what was found and expected."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from roilab.escaping import one_line, printable

# `argument=value` in a remedy: the value is a quoted text, a dict or list of such, or a word.
_WORDS = ("null", "true", "false")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf'{_TEXT}|\{{(?:[^{{}}"]|{_TEXT})*\}}|\[(?:[^\[\]"]|{_TEXT})*\]|[\w./-]*\w'
_ARGUMENT = re.compile(rf"(?<![\w.-])(\w+)=({_VALUE})")


class UserError(Exception):
    """A mistake the user can mend. Scripts print it without a traceback and exit with status 2.

    As text, it has no control characters, whatever names it has from files; its attributes are as
    they were given.

    Args:
        message: what is wrong, in one sentence without a full stop.
        file: the file in which it is wrong.
        key: the key, attribute or option in that file (or on the command line).
        found, expected: the two things that disagree.
        remedy: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        key: str | None = None,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        lines = [printable(message)]
        for name, value in (
            ("file", file),
            ("key", key),
            ("found", found),
            ("expected", expected),
            ("remedy", remedy),
        ):
            if value is not None:
                # A name has no lines of its own; what was found may be a table.
                shown = one_line if name in ("file", "key") else printable
                lines.append(f"  {name + ':':<10}{shown(str(value))}")
        super().__init__("\n".join(lines))
        self.message = message
        self.file = file
        self.key = key
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def with_keys(self, keys: Mapping[str, str], write: Callable[[str, Any], str]) -> "UserError":
        """The same mistake, with a function's arguments named as the user gives them.

        Args:
            keys, write: see `written`.
        """
        return UserError(
            self.message,
            file=self.file,
            key=keys.get(self.key, self.key) if self.key else None,
            found=written(self.found, keys, write) if isinstance(self.found, str) else self.found,
            expected=self.expected,
            remedy=self.remedy and written(self.remedy, keys, write),
        )


def argument(name: str, value: object) -> str:
    """`name=value`: how remedies write a function's argument. The value is a word, or JSON."""
    is_word = isinstance(value, str) and re.fullmatch(r"\w+", value) and value not in _WORDS
    return f"{name}={value if is_word else json.dumps(value, ensure_ascii=False)}"


def written(text: str, keys: Mapping[str, str], write: Callable[[str, Any], str]) -> str:
    """A text with each `argument=value` in it as the user writes it.

    A function does not know whether it is called for a config or a command line: who calls it does.
    What only looks like an argument, such as a name from a file, stays.

    Args:
        text: a remedy, with arguments as `argument` writes them.
        keys: argument -> its key in a config, or its option on the command line.
        write: what gives such a key or option a value.
    """

    def one(match: re.Match[str]) -> str:
        name, text = match.groups()
        if name not in keys:
            return match[0]
        is_json = text[0] in '"{[' or text in _WORDS
        try:
            value = json.loads(text) if is_json else text
        except ValueError:
            return match[0]
        return write(keys[name], value)

    return _ARGUMENT.sub(one, text)
