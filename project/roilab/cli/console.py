"""The console of a command: set-up of its log, progress, and errors in the words of its options.

A user's mistake is one message and exit status 2, no traceback. The package knows no options: its
errors have the name of a parameter as `key`, and write `parameter=value` in a remedy
(`roilab.errors.argument`). A command prints `--parameter value`.
"""

import io
import logging
import math
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NoReturn, TextIO

from roilab.errors import UserError, machine_failure, rename_arguments
from roilab.escaping import printable

# Of Detectron2 on a current torch, which only Detectron2 can correct, and of others.
_IGNORED_WARNINGS = (
    r".*torch\.(jit\.script|meshgrid).*",
    "Creating a tensor from a list of numpy.ndarrays",
    # It makes a tensor of a mask that Pillow has resized.
    "The given NumPy array is not writable",
    # It counts the visible keypoints of a batch that has none.
    "Mean of empty slice|invalid value .* in scalar divide",
    # Pillow's limit; `roilab.image_files.read_rgb` refuses images beyond it.
    "Image size .* exceeds limit of .* pixels",
    # The argument of DistributedDataParallel that torch 2.14 has renamed.
    ".*broadcast_buffers.* is deprecated",
    # Its Swin, ViT and MViT import timm by an old name.
    "Importing from timm.models.layers is deprecated",
)

# Parameters that messages name, of all commands.
OPTIONS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("allow_changed_data", "config_file", "eval_only", "replay", "resume"),
        *("dist_url", "machine_rank", "num_gpus", "num_machines"),
        *("accept", "check", "compare", "format", "input", "max_memory", "output", "run", "runs"),
        *("published", "save", "trust", "weights"),
        *("jobs", "only", "seeds", "slurm"),
        "car_share",
        "from",
    )
} | {"scales": "--tta-scales"}
# Options that are repeated for several values; others take them one after the other.
_REPEATED = {"--class-attribute", "--class-map", "--trust"}


def set_up() -> None:
    """Prepare this process for a command: before torch and Detectron2 are imported."""
    # Beside another program a step takes half the time where waiting threads sleep and do not spin.
    # It is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for message in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    # A node that cannot be built is an error of ours, which names it.
    logging.getLogger("detectron2.config.instantiate").setLevel(logging.CRITICAL)
    logging.setLogRecordFactory(PrintableRecord)
    # It prints what is logged before a run folder has its log, and where there is none.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_WithLevel())
    sys.excepthook = _excepthook
    # A name from a file may hold an invalid character, such as half of an emoji.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def option(name: str, value: Any) -> str:
    """An option with its values, quoted for a shell; an option without values for True.

    Of an argument without an option, such as FILE, it is the values alone.

    Raises:
        ValueError: no option has such a value, as it may stand in a name from a file.
    """
    if value in (True, "true"):
        return name
    if name == "--max-memory" and isinstance(value, str):  # bytes, in gigabytes
        return f"{name} {math.ceil(int(value) / 1e9)}"
    if isinstance(value, Mapping):
        value = [f"{key}={'' if part is None else part}" for key, part in value.items()]
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(part, str) for part in values):
        raise ValueError(f"{name} does not take {value}")
    quoted = [shlex.quote(part) for part in values]
    if name in _REPEATED:
        return " ".join(f"{name} {part}" for part in quoted)
    return " ".join((name, *quoted) if name.startswith("-") else quoted)


def with_options(text: str, options: Mapping[str, str] = OPTIONS) -> str:
    """A message with each `parameter=value` in it as an option."""
    return rename_arguments(text, options, option)


def error_with_options(error: UserError, options: Mapping[str, str] = OPTIONS) -> UserError:
    """An error with options in the place of parameters."""
    return error.with_keys(options, option)


class PrintableRecord(logging.LogRecord):
    """A message of a log, with options, and no control characters from names in files."""

    def getMessage(self) -> str:
        return printable(with_options(super().getMessage()))


def say(*values: object, sep: str = " ", file: TextIO | None = None, **options: Any) -> None:
    """Print text; control characters in it, as of names from files, are escaped."""
    print(printable(sep.join(map(str, values))), file=file, **options)


def progress(items: Iterable[Any] | None, unit: str = "image", **options: Any) -> Any:
    """A bar of tqdm on a terminal, nothing elsewhere."""
    from tqdm import tqdm  # `roilab doctor` reports where it is missing

    return tqdm(items, unit=unit, disable=not sys.stderr.isatty(), leave=False, **options)


class _WithLevel(logging.Formatter):
    """Begins each message with its level, as problems of annotation files already do."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        level = f"{record.levelname.lower()}: "
        return text if text.startswith(("warning: ", "error: ")) else level + text


def _excepthook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Name a failure of the machine also where it hits the import of a module."""
    if machine_failure(error) is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print_error(error)


def print_error(error: BaseException) -> int | None:
    """Print an exception that is no bug of ours; returns the exit status, None for a bug.

    The status is 2 after a mistake or where a file fails, and after a signal 128 and its number, so
    that Ctrl-C gives 130.
    """
    if isinstance(error, KeyboardInterrupt):
        say(with_options(str(error)) or "interrupted", file=sys.stderr)
        return getattr(error, "status", 130)
    problem = error if isinstance(error, UserError) else machine_failure(error)
    if problem is not None:
        say(f"error: {error_with_options(problem)}", file=sys.stderr)
    elif isinstance(error, OSError):  # such as a full disk, or a folder without permission to write
        place = f": {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{place}", file=sys.stderr)
    else:
        return None
    return 2


def ended(status: int) -> int:
    """Return the status; where a thread is still at work, end the process with it at once."""
    from roilab.inference.prefetch import is_any_running  # it imports torch, which takes seconds

    if is_any_running():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def exit_with(command: Callable[[], int | None]) -> NoReturn:
    """Call a command, and exit with its status, or with that of its error (`print_error`)."""
    try:
        status = command() or 0
    except (Exception, KeyboardInterrupt) as error:
        printed = print_error(error)
        if printed is None:
            raise
        status = printed
    sys.exit(status)
