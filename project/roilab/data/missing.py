"""The message about images that are not there."""

from collections.abc import Sequence
from pathlib import Path

from roilab.errors import UserError

SHOWN = 5  # how many of many like problems a message spells out


def refuse_missing(missing: Sequence[str], total: int, paths: Sequence[Path]) -> None:
    """Raise where images are missing.

    Raises:
        UserError: there are some; the message names the first.
    """
    if missing:
        raise UserError(
            f"{len(missing)} of {total} annotated images are not there",
            file=", ".join(map(str, paths)),
            key="images",
            found=shortened(missing),
            remedy="point data.train.images (data.val.images) at the folder that holds them, or "
            "leave them out with data.train.missing_images=skip",
        )


def shortened(names: Sequence[str]) -> str:
    """The first of many names."""
    return "; ".join(names[:SHOWN]) + ("; ..." if len(names) > SHOWN else "")
