"""Problems as an exception, for those who want nothing left out."""

from collections.abc import Iterable

from roilab.errors import UserError
from roilab.text import counted
from roilab.via.records import Problem

_SHOWN = 5  # how many of many problems the message spells out


def refuse_errors(problems: Iterable[Problem]) -> None:
    """Raise where a problem leaves something out.

    Raises:
        UserError: there are errors among the problems; the message lists the first of them.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        more = [f"... and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
        listed = [str(problem) for problem in errors[:_SHOWN]] + more
        raise UserError(
            f"{counted(len(errors), 'error')} in the annotations",
            file=errors[0].file,
            found="\n            ".join(listed),
            expected="no error, since it is read strictly",
            remedy="mend them, or read without strict: the sound part then loads",
        )
