"""Images that are not there or cannot be read: gathered, then refused or left out."""

import logging
from dataclasses import dataclass, field
from typing import Literal, get_args

from roilab import via
from roilab.errors import UserError
from roilab.text import counted, first_of

Choice = Literal["error", "skip"]
SHOWN = 5  # how many of many like problems a message spells out
_LISTED = 200  # the same for images, each of which somebody has to look for

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Unusable:
    """Gathers an error for each image that cannot be used."""

    missing: list[via.Problem] = field(default_factory=list)
    broken: list[via.Problem] = field(default_factory=list)

    def note(self, problem: via.Problem, is_missing: bool) -> None:
        """Add the error of an image."""
        (self.missing if is_missing else self.broken).append(problem)

    def settle(self, choice: Choice, total: int, origin: str, key: str, remedy: str) -> int:
        """Log and return the number of images that are left out.

        Args:
            choice: whether they are refused or left out.
            total: how many images are annotated.
            origin: where the annotations come from, for messages.
            key, remedy: of the argument that says where the images are.

        Raises:
            UserError: there are some, and they are refused; the message lists them.
        """
        found = [f"{each.image} ({each.message})" for each in (*self.missing, *self.broken)]
        if found and choice == "error":
            raise UserError(
                f"{len(found)} of {total} annotated images cannot be used "
                f"({len(self.missing)} not there, {len(self.broken)} not readable or of another "
                "size)",
                file=origin,
                key=key,
                found=first_of(found, _LISTED, "\n            "),
                remedy=remedy,
            )
        if found:
            images = counted(len(found), "image")
            log.warning("%s: %s left out: %s", origin, images, first_of(found, SHOWN, "; "))
        return len(found)


def check_choice(missing_images: str) -> None:
    """Raise UserError where `missing_images` is neither "error" nor "skip"."""
    if missing_images not in get_args(Choice):
        raise UserError(
            "no such choice", key="missing_images", found=missing_images, expected="error or skip"
        )
