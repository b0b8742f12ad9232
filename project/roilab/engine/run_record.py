"""The record of a run folder, run.json: its starts, and the digests of its files.

A digest finds damage, not malice: who can write a file can write its digest, too.
"""

import contextlib
import itertools
import json
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roilab.engine.stored_results import is_fingerprint, is_start
from roilab.errors import UserError
from roilab.files import parse_json, read_bytes, write_whole

LAYOUT = 1  # of the folder; docs/run-folder.md has what each number means
RECORD = "run.json"
_FORM = f'{{"layout": {LAYOUT}, "starts": [...], "files": {{...}}, "digest": "..."}}'
_REMEDY = "delete this file: it is a record, and the run is whole without it, but unverified"
_DIGEST = re.compile(r"\d+-[0-9a-f]{8}", re.ASCII)
ABSENT = "absent"  # among the digests of a file: it need not be there
_OWN = ',\n  "digest": "{}"\n}}\n'  # the end of a record: the digest of all before


class Digest:
    """The digest of what it is updated with: the number of bytes, and their CRC-32.

    It takes a third of the time of SHA-256, and misses one damage in four thousand millions.
    """

    def __init__(self) -> None:
        self.bytes = self.crc = 0

    def update(self, content: Any) -> None:
        """Go on with bytes, or with a mapped file."""
        self.bytes += memoryview(content).nbytes
        self.crc = zlib.crc32(content, self.crc)

    def __str__(self) -> str:
        return f"{self.bytes}-{self.crc:08x}"


def digest_of(content: Any) -> str:
    """The digest of bytes, or of a mapped file, as run.json has it."""
    digest = Digest()
    digest.update(content)
    return str(digest)


def read_record(folder: Path) -> dict[str, Any]:
    """Read run.json; without one (a folder made by hand, or older) the record is its layout alone.

    Raises:
        UserError: it is damaged, or of a newer layout.
    """
    path = folder / RECORD
    if not path.exists():
        return {"layout": LAYOUT}
    what = "the record of the run"
    content = read_bytes(path, what=what, remedy=_REMEDY)
    data = parse_json(content, path, what=what, expected=_FORM, remedy=_REMEDY)

    def damaged(key: str | None, found: object) -> UserError:
        message = "the record of the run is damaged"
        return UserError(message, file=path, key=key, found=found, expected=_FORM, remedy=_REMEDY)

    if not isinstance(data, dict) or type(data.get("layout")) is not int:
        raise damaged("layout", "no layout number")
    if data["layout"] > LAYOUT:
        raise UserError(
            "the run folder is laid out in a newer way",
            file=path,
            key="layout",
            found=data["layout"],
            expected=f"at most {LAYOUT}",
            remedy="use a newer RoILab",
        )
    starts, files = data.get("starts", []), data.get("files", {})
    if not isinstance(starts, list) or not all(map(is_start, starts)):
        raise damaged("starts", starts)
    if not isinstance(files, dict) or not all(itertools.starmap(_is_entry, files.items())):
        raise damaged("files", files)
    data_sets = data.get("data", {})
    if not isinstance(data_sets, dict) or not all(map(is_fingerprint, data_sets.values())):
        raise damaged("data", data_sets)
    accepted = data.get("accepted", [])
    if not isinstance(accepted, list) or not all(isinstance(name, str) for name in accepted):
        raise damaged("accepted", accepted)
    if ("files" in data or "digest" in data) and not _has_own(content):
        raise damaged("digest", "not the digest of the record")
    return data


def _is_entry(name: str, digests: Any) -> bool:
    """Whether a name is that of a file of the folder itself, with a list that has a digest."""
    listed = isinstance(digests, list) and all(isinstance(each, str) for each in digests)
    return listed and any(map(_DIGEST.fullmatch, digests)) and _is_own_file(name)


def _is_own_file(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}


def _has_own(content: bytes) -> bool:
    """Whether a record ends in its own digest."""
    before = content.rpartition(_OWN.partition("{}")[0].encode())[0]
    return content == before + _OWN.format(digest_of(before)).encode()


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write run.json, with the digest of itself.

    Raises:
        UserError: it cannot be written.
    """
    data = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(data, indent=2, ensure_ascii=False).removesuffix("\n}")
    content = text.encode("utf-8", "backslashreplace")
    write_whole(folder / RECORD, content + _OWN.format(digest_of(content)).encode())


def digests(folder: Path) -> dict[str, list[str]]:
    """The digests of the files of a folder by name; empty: it has no record, or an older one.

    A file has more than one only while it is replaced, or where that was cut: it is sound with
    any of them, and if one is "absent", also where it is not there.

    Raises:
        UserError: the record is damaged, or of a newer layout.
    """
    found: dict[str, list[str]] = read_record(folder).get("files", {})
    return found


def is_as_written(path: Path) -> bool:
    """Whether the record of a file's folder vouches that RoILab wrote the file as it is.

    Not where it has no digest of the file, or has one of what `accept` took as it was.

    Raises:
        UserError: the record is damaged, or of a newer layout.
    """
    record = read_record(path.parent)
    return path.name in record.get("files", {}) and path.name not in record.get("accepted", [])


@contextlib.contextmanager
def replacing(folder: Path, new: Mapping[str, str]) -> Iterator[None]:
    """Files are replaced in the block; whenever it is cut, the record allows what is there.

    Args:
        new: name -> digest of the content that the file gets.

    Raises:
        UserError: the record is damaged, or cannot be written.
    """
    record = read_record(folder)
    files: dict[str, list[str]] = record.get("files", {})
    changed = {name: digest for name, digest in new.items() if files.get(name) != [digest]}
    if not changed:
        yield
        return
    both = {}
    for name, digest in changed.items():
        if name in files:
            both[name] = list(dict.fromkeys([*files[name], digest]))
        elif not (folder / name).exists():
            both[name] = [ABSENT, digest]
        # Of a file without a digest nothing can be said until it is replaced.
    if both:
        write_record(folder, {**record, "files": {**files, **both}})
    yield
    accepted = [name for name in record.get("accepted", []) if name not in new]
    files = {**files, **{name: [digest] for name, digest in changed.items()}}
    write_record(folder, {**record, "files": files, "accepted": accepted})


def remove_digests(folder: Path, names: Iterable[str]) -> None:
    """Take the digests of files that are about to be removed, or appended to, out of the record.

    Raises:
        UserError: the record is damaged, or cannot be written.
    """
    record, gone = read_record(folder), set(names)
    files = record.get("files", {})
    if gone & files.keys():
        kept = {name: digest for name, digest in files.items() if name not in gone}
        write_record(folder, {**record, "files": kept})


def accept(folder: Path, names: Iterable[str]) -> None:
    """Take files as they are: their digests go into the record, those of files that are gone go.

    Raises:
        UserError: the record is damaged or cannot be written, or a file cannot be read.
    """
    record, names = read_record(folder), list(names)
    for name in names:
        if not _is_own_file(name) or name == RECORD:
            raise UserError(
                "not a file with a digest",
                file=folder,
                found=name,
                expected=f"the name of a file of this folder, other than {RECORD}",
            )
    files = {name: each for name, each in record.get("files", {}).items() if name not in names}
    there = [name for name in names if (folder / name).exists()]
    new = {name: [digest_of(read_bytes(folder / name))] for name in there}
    accepted = sorted({*record.get("accepted", []), *names})
    write_record(folder, {**record, "files": {**files, **new}, "accepted": accepted})


def read_verified(path: Path, *, what: str = "the file", remedy: str | None = None) -> bytes:
    """The content of a file, which is as the record of its folder says, if that knows it.

    Args:
        what, remedy: for the message, see `roilab.files.read_bytes`.

    Raises:
        UserError: the file cannot be read, or is not as it was written; the record is damaged.
    """
    content = read_bytes(path, what=what, remedy=remedy)
    verify(path, content, remedy=remedy)
    return content


def verify(path: Path, content: Any, *, remedy: str | None = None) -> bool:
    """Whether the record of a file's folder knows the file, which then is as it was written.

    Args:
        content: bytes, or the mapped file.
        remedy: what helps beside a copy.

    Raises:
        UserError: it is not; or the record is damaged.
    """
    expected = digests(path.parent).get(path.name)
    if expected is None:
        return False
    found = digest_of(content)
    if found not in expected:
        command = accepting(path)
        raise UserError(
            "the file is not as it was written: it was damaged, changed or swapped",
            file=path,
            found=_shown([found]),
            expected=f"{_shown(expected)}, as {RECORD} says",
            remedy=f"{remedy}, or put a sound copy in its place; if it is meant to be so: {command}"
            if remedy
            else f"put a sound copy in its place; if it is meant to be so: {command}",
        )
    return True


def _shown(digests: Sequence[str]) -> str:
    """Digests to read."""
    parts = [digest.partition("-") for digest in digests if digest != ABSENT]
    return " or ".join(f"{size} bytes with the CRC-32 {crc}" for size, _, crc in parts)


def is_there(path: Path) -> bool:
    """Whether a file that not every run has is there.

    Raises:
        UserError: it is gone: the record knows it; or the record is damaged.
    """
    if path.exists():
        return True
    if ABSENT not in digests(path.parent).get(path.name, [ABSENT]):
        raise UserError(
            "a file of the run is gone",
            file=path,
            expected=f"the file that {RECORD} has the digest of",
            remedy=f"put a copy in its place; if it is meant to be so: {accepting(path)}",
        )
    return False


def accepting(path: Path) -> str:
    """The command that takes a file of a run folder as it is."""
    command = ["roilab", "doctor", "--run", str(path.parent), "--accept", path.name]
    return shlex.join(command)
