"""Remedies of reading a tree of Cityscapes."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.evaluation.cityscapes_tree import CASES, label_files, write_tree

from .cases import Wrong, add_cases, attempt
from .reading import load

TREE = CASES["all classes"]


@attempt
def in_tree(folder: Path, damage: Callable[[Path], object] | None = None, path: str = "") -> Wrong:
    """A tree is written anew, damaged, and loaded by the labels of a split, or another path."""
    shutil.rmtree(folder / "tree", ignore_errors=True)
    write_tree(folder / "tree", TREE)
    if damage is not None:
        damage(folder / "tree")
    return load(folder / "tree" / (path or "gtFine/val"))


def remove_city(root: Path) -> None:
    shutil.rmtree(root / "gtFine" / "val" / "ulm")


def move_city(root: Path) -> None:
    remove_city(root)
    shutil.rmtree(root / "leftImg8bit" / "val" / "ulm")


def cut(root: Path) -> None:
    path = label_files(root)[0]
    path.write_bytes(path.read_bytes()[:100])


CASES_OF_TREES = {
    "give the labels of a split: {}": [in_tree(path="gtFine/tain"), in_tree(path="gtFine/val")],
    "unpack gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip there": [
        in_tree(shutil.rmtree),
        in_tree(),
    ],
    "unpack gtFine_trainvaltest.zip of Cityscapes again": [in_tree(cut), in_tree()],
    "unpack gtFine_trainvaltest.zip of Cityscapes again, or move the images without labels out of "
    "{}": [in_tree(remove_city), in_tree(), in_tree(move_city)],
}
add_cases(__name__, CASES_OF_TREES)
