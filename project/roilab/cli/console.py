"""The console of a command: a user's mistake is one message and exit status 2, no traceback."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, TextIO

from roilab.cli.options import error_with_options, with_options
from roilab.errors import UserError, machine_failure
from roilab.escaping import printable

# Of Detectron2 on a current torch, which are Detectron2's to mend, and of others.
_IGNORED_WARNINGS = (
    r".*torch\.(jit\.script|meshgrid).*",
    "Creating a tensor from a list of numpy.ndarrays",
    # It counts the visible keypoints of a batch that has none.
    "Mean of empty slice|invalid value .* in scalar divide",
    # What a limit is near is within it; what is beyond is refused: `roilab.image_files.read_rgb`.
    "Image size .* exceeds limit of .* pixels",
    # The argument of DistributedDataParallel that torch from 2.14 on has under another name.
    ".*broadcast_buffers.* is deprecated",
    # Its Swin, ViT and MViT import timm by an old name.
    "Importing from timm.models.layers is deprecated",
)


def set_up() -> None:
    """Prepare this process for a command: before torch and Detectron2 are imported."""
    # Compute threads that sleep while they wait share cores with other programs, threads that spin
    # do not: a step takes half the time beside one. It is read when torch is imported.
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
    # A name from a file may hold what is no character, such as half of an emoji.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class PrintableRecord(logging.LogRecord):
    """A message of a log, with options, and no control characters from names in files."""

    def getMessage(self) -> str:
        return printable(with_options(super().getMessage()))


def say(*values: object, sep: str = " ", file: TextIO | None = None, **options: Any) -> None:
    """Print text that may have names from files in it, which a terminal does not obey."""
    print(printable(sep.join(map(str, values))), file=file, **options)


class _WithLevel(logging.Formatter):
    """Begins with `warning:` or `error:`, as the problems of annotation files do by themselves."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        level = f"{record.levelname.lower()}: "
        return text if text.startswith(("warning: ", "error: ")) else level + text


def _excepthook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Name a failure of the machine also where it hits the import of a module."""
    failure = machine_failure(error)
    if failure is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print_error(failure)


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
    """The status; where a thread was left at its work, the process ends with it at once."""
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
