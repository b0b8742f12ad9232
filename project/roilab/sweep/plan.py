"""What a sweep consists of: arms, seeds, and a run folder for each pair."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roilab.errors import UserError

_OPEN, _CLOSE = "[{(", "]})"


@dataclass(frozen=True)
class Arm:
    """One setting to compare: a name and the overrides that make it."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One training: an arm with a seed, in a run folder of its own."""

    arm: Arm
    seed: int
    base: str
    shared: tuple[str, ...]
    folder: Path

    @property
    def overrides(self) -> tuple[str, ...]:
        """All that the training is told: of all arms, of this arm, of this cell."""
        # Quoted, or brackets and commas in the path would be read as lists.
        quoted = str(self.folder).replace("'", "\\'")
        own = (f"train.seed={self.seed}", f"train.output_dir='{quoted}'")
        return (*self.shared, *self.arm.overrides, *own)


def parse_arm(text: str) -> Arm:
    """`name:key=value,key=value` as an arm; commas within brackets or quotes belong to a value.

    Raises:
        UserError: the text has another form.
    """
    name, colon, rest = text.partition(":")
    overrides = tuple(part.strip() for part in split_outside_brackets(rest)) if rest else ()
    sound = colon and re.fullmatch(r"[\w.+-]+", name) and name not in (".", "..")
    if not sound or any("=" not in part for part in overrides):
        raise UserError(
            "an arm cannot be read",
            key="--arm",
            found=text,
            expected="name:key=value[,key=value]; a name of letters, digits, '.', '_', '+', '-'",
        )
    return Arm(name, overrides)


def split_outside_brackets(text: str) -> list[str]:
    """Split at commas that stand in no bracket and no quote."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        if char == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` as seeds.

    Raises:
        UserError: not whole numbers from 0, or one of them twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d+", part) for part in parts) or len(set(parts)) != len(parts):
        raise UserError(
            "the seeds cannot be read",
            key="--seeds",
            found=text,
            expected="different whole numbers from 0, such as 0,1,2",
        )
    return tuple(map(int, parts))


def plan(
    base: str, arms: Sequence[Arm], seeds: Sequence[int], shared: Sequence[str], output: Path
) -> list[Cell]:
    """A cell for each seed and arm, seed by seed, so that early results compare all arms.

    Raises:
        UserError: two arms have the same name.
    """
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise UserError("two arms have the same name", key="--arm", found=name)
    return [
        Cell(arm, seed, base, tuple(shared), output / arm.name / f"seed_{seed}")
        for seed in seeds
        for arm in arms
    ]
