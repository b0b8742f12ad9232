"""UserError: a mistake, its file and key, what was found and expected; or a machine's failure."""

import errno
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from roilab.escaping import one_line, printable

# `argument=value` in a message: the value is a quoted text, a dict or list of such, or a word. A
# part of a path, as in `outputs/run=3/model.pth`, is none.
_WORDS = ("null", "true", "false")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf'{_TEXT}|\{{(?:[^{{}}"]|{_TEXT})*\}}|\[(?:[^\[\]"]|{_TEXT})*\]|\w++(?![.,=-]*[\w/\\])'
_ARGUMENT = re.compile(rf"(?<![\w./\\,=-])(\w+)=({_VALUE})")

_PARTS = ("file", "key", "found", "expected", "remedy")


class UserError(Exception):
    """A mistake that the user can correct. Commands print it without a traceback, with status 2.

    As text, it has no control characters, whatever names it has from files; its attributes are as
    they were given.

    Args:
        message: what is wrong, in one sentence without a full stop.
        file: the file in which it is wrong.
        key: the key or attribute in that file, or the parameter of a function, which a command
            prints as its option.
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
        self.message = message
        self.file = file
        self.key = key
        self.found = found
        self.expected = expected
        self.remedy = remedy
        lines = [printable(message)]
        for name in _PARTS:
            if (value := getattr(self, name)) is not None:
                # A name has no lines of its own; what was found may be a table.
                shown = one_line if name in ("file", "key") else printable
                lines.append(f"  {name + ':':<10}{shown(str(value))}")
        super().__init__("\n".join(lines))

    def replace(self, **parts: Any) -> Self:
        """The same mistake with other arguments, such as `file`."""
        own = {name: getattr(self, name) for name in ("message", *_PARTS)}
        return type(self)(**{**own, **parts})

    def with_keys(self, keys: Mapping[str, str], write: Callable[[str, Any], str]) -> Self:
        """The same mistake, its arguments named as the user types them, see `rename_arguments`."""
        parts: dict[str, Any] = {"key": keys.get(self.key or "", self.key)}
        for name, text in (("found", self.found), ("remedy", self.remedy)):
            if isinstance(text, str):
                parts[name] = rename_arguments(text, keys, write)
        return self.replace(**parts)


def argument(name: str, value: object) -> str:
    """`name=value`: how remedies write a function's argument. The value is a word, or JSON."""
    is_word = isinstance(value, str) and re.fullmatch(r"\w+", value) and value not in _WORDS
    return f"{name}={value if is_word else json.dumps(value, ensure_ascii=False)}"


def rename_arguments(text: str, keys: Mapping[str, str], write: Callable[[str, Any], str]) -> str:
    """Replace each `argument=value` in a text by what the user types for it.

    The package knows no options of a command and no place of a node in a config: its messages name
    the parameter of a function, and the caller renames it. What only looks like an argument, such
    as a name from a file, stays.

    Args:
        text: a message or remedy, with arguments as `argument` writes them.
        keys: argument -> its key in a config, or its option on the command line.
        write: returns such a key or option with a value; after a ValueError the argument stays.
    """

    def rename(match: re.Match[str]) -> str:
        name, text = match.groups()
        if name not in keys:
            return match[0]
        is_json = text[0] in '"{[' or text in _WORDS
        try:
            return write(keys[name], json.loads(text) if is_json else text)
        except ValueError:
            return match[0]

    return _ARGUMENT.sub(rename, text)


# In the words of torch, numpy, OpenCV, Python and the loader of shared objects.
_TOO_LITTLE_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc"
    r"|insufficient memory|failed to allocate|unable to allocate|can't start new thread"
    r"|failed to map segment|unable to mmap",
    re.IGNORECASE,
)
_LOST_WORKER = re.compile(
    r"DataLoader worker \(pid.*?(is killed by signal: .*|exited unexpectedly)"
)


def is_lost_worker(error: BaseException) -> bool:
    """Whether torch says that a process of a loader is gone, which it may raise anywhere."""
    return _LOST_WORKER.search(str(error)) is not None


def machine_failure(error: BaseException, saved: str = "") -> UserError | None:
    """The error for an exception that the machine caused: no memory, or a lost process; else None.

    `saved` says what is left of the work, and how to go on.
    """
    after = f"; {saved}" if saved else ""
    cause: BaseException | None = error
    # What is cut by such a failure may fail in its own words, as a file that is being written does.
    while cause is not None and not isinstance(cause, UserError):
        text = str(cause)
        if lost := _LOST_WORKER.search(text):
            return UserError(
                "a process that loads images is gone",
                found=lost[0].strip(),
                expected="no other program, and no limit of memory, that ends it",
                remedy="fewer of them: dataloader.train.num_workers=1, "
                f"dataloader.test.num_workers=1, or 0 for none{after}",
            )
        no_memory = isinstance(cause, OSError) and cause.errno == errno.ENOMEM
        if isinstance(cause, MemoryError) or no_memory or _TOO_LITTLE_MEMORY.search(text):
            reason = (text.strip() or type(cause).__name__).splitlines()[0].strip()
            return UserError(
                "there is too little memory",
                found=reason,
                expected="room for the model and its images, and no `ulimit -v`",
                remedy="give the process more, or let it take less: "
                f"dataloader.train.num_workers=0, dataloader.test.num_workers=0{after}; with a "
                "smaller dataloader.train.total_batch_size it is another training, in a folder of "
                "its own",
            )
        cause = cause.__context__
    return None
