"""Options of the command line, in place of the parameters that messages of the package name.

The package knows no options: its errors have the name of a parameter as `key`, and write
`parameter=value` in a remedy (`roilab.errors.argument`). A command prints `--parameter value`.
"""

import math
import shlex
from collections.abc import Mapping
from typing import Any

from roilab.errors import UserError, rename_arguments

# Parameters that messages name, of all commands.
OPTIONS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("allow_changed_data", "config_file", "eval_only", "replay", "resume"),
        *("dist_url", "machine_rank", "num_gpus", "num_machines"),
        *("accept", "check", "compare", "format", "input", "max_memory", "output", "run", "runs"),
        *("save", "trust", "weights"),
        *("jobs", "only", "seeds", "slurm"),
        "from",
    )
}
# Options that are repeated for several values; others take them one after the other.
_REPEATED = {"--class-attribute", "--class-map", "--trust"}


def option(name: str, value: Any) -> str:
    """An option with its values, quoted for a shell; an option without values for True."""
    if value in (True, "true"):
        return name
    if name == "--max-memory":  # bytes, in gigabytes
        return f"{name} {math.ceil(int(value) / 1e9)}"
    if isinstance(value, Mapping):
        value = [f"{key}={'' if part is None else part}" for key, part in value.items()]
    values = [shlex.quote(str(part)) for part in ([value] if isinstance(value, str) else value)]
    if name in _REPEATED:
        return " ".join(f"{name} {part}" for part in values)
    return " ".join((name, *values))


def with_options(text: str, options: Mapping[str, str] = OPTIONS) -> str:
    """A message with each `parameter=value` in it as an option."""
    return rename_arguments(text, options, option)


def error_with_options(error: UserError, options: Mapping[str, str] = OPTIONS) -> UserError:
    """An error with options in the place of parameters."""
    return error.with_keys(options, option)
