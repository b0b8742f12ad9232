"""The one exception for a user's mistake: it names file, key, what was found and expected."""

import re
from collections.abc import Collection
from pathlib import Path

from roilab.escaping import one_line, printable


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

    def under(self, node: str, arguments: Collection[str]) -> "UserError":
        """The same mistake of a node's argument, named from the root of the config.

        So are the `argument=value` that its remedy proposes.
        """
        names = "|".join(map(re.escape, arguments))
        remedy = self.remedy and re.sub(rf"(?<![\w.])({names})=", rf"{node}.\1=", self.remedy)
        return UserError(
            self.message,
            file=self.file,
            key=f"{node}.{self.key}",
            found=self.found,
            expected=self.expected,
            remedy=remedy,
        )
