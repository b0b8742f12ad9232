"""A file is the old one or the whole new one."""

import os
from pathlib import Path

import pytest

from roilab.errors import UserError
from roilab.files import part_of_folder, read_bytes, remove_parts, whole, write_whole


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with whole(path) as part:
        part.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    write_whole(path, "second")
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Of its own name, or of that which it has until it is whole."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    path = tmp_path / "a.txt"
    for link in (path, tmp_path / f".a.txt.{os.getpid()}.part"):
        link.symlink_to(elsewhere)
        write_whole(path, "new")
        assert (path.read_text(), path.is_symlink()) == ("new", False)
        assert elsewhere.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["n" * 251 + ".txt", "ab" + "\N{HIRAGANA LETTER A}" * 84], ids=["ascii", "kana"]
)
def test_a_name_as_long_as_any(tmp_path: Path, name: str) -> None:
    assert len(name.encode()) in (254, 255)
    write_whole(tmp_path / name, "content")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "content"


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    for _ in range(2):
        with part_of_folder(path) as part:
            (part / "a").mkdir()
            (part / "a" / "b.txt").write_text("b")
        assert list(path.parent.iterdir()) == []
    with part_of_folder(path) as part:
        part.rename(path)
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    """Files and folders, but not what a link leads to, and what another process may be writing."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    folder = tmp_path / "run"
    with part_of_folder(folder / "source") as part, whole(folder / "a.txt") as file:
        (part / "half").write_text("half")
        file.write_text("half")
        (folder / f".link.{os.getpid()}.part").symlink_to(elsewhere)
        (folder / ".b.txt.1.part").write_text("of another")
        remove_parts(folder, os.getpid())
        assert [path.name for path in folder.iterdir()] == [".b.txt.1.part"]
        file.write_text("whole")
    assert (elsewhere / "mine").read_text() == "mine"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with whole(path) as part:
            part.write_text("half")
            raise error

    # Its own error, not one of writing.
    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["file/a.txt", "folder", "nul\0.txt", ""])
def test_what_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write the file"):
        write_whole(tmp_path / place if place else "", "content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(UserError, match="no plain file"):
            read_bytes(tmp_path / name)
