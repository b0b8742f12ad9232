"""The record of a run folder, run.json: the starts of the run, and the digests of its files.

A digest finds damage, not malice: whoever can write a file can write its digest, too. All
functions here raise UserError where the record is damaged, is of a newer layout, or cannot be
written.
"""

import contextlib
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roilab.errors import UserError, argument
from roilab.files import parse_json, read_bytes, write_whole

LAYOUT = 2  # of the folder; docs/run-folder.md says what each number means
RECORD = "run.json"
ABSENT = "absent"  # among the digests of a file: the file may be missing
_FORM = f'{{"layout": {LAYOUT}, "starts": [...], "files": {{...}}, "digest": "..."}}'
_REMEDY = "delete this file: it is a record, and the run is whole without it, but unverified"
_DIGEST = re.compile(r"\d+-[0-9a-f]{8}", re.ASCII)
_OWN = ',\n  "digest": "{}"\n}}\n'  # the end of a record: the digest of everything before


class Digest:
    """A digest of bytes or a mapped file, as run.json has it: their number, and their CRC-32.

    It takes a third of the time of SHA-256, and misses one damage in four thousand millions.
    """

    def __init__(self, content: Any = b"") -> None:
        self.bytes = self.crc = 0
        self.update(content)

    def update(self, content: Any) -> None:
        """Add more of them."""
        self.bytes += memoryview(content).nbytes
        self.crc = zlib.crc32(content, self.crc)

    def __str__(self) -> str:
        return f"{self.bytes}-{self.crc:08x}"


def read_record(folder: Path) -> dict[str, Any]:
    """Read run.json; a folder without one, made by hand or older, has a record of its layout.

    Returns:
        Also `starts`; `files`, the digests of the files by name; and `accepted`, names of files
        that were changed on purpose; empty where the file has none. A file has several digests
        only while it is replaced, or where that was cut: it is sound with any of them, and if one
        is "absent", also where it is missing. `data` has the fingerprints of the data, if any.
    """
    path = folder / RECORD
    what = "the record of the run"
    empty: dict[str, Any] = {"starts": [], "files": {}, "accepted": []}
    if not path.exists():
        return {"layout": LAYOUT, **empty}
    content = read_bytes(path, what=what, remedy=_REMEDY)
    data = parse_json(content, path, what=what, expected=_FORM, remedy=_REMEDY)
    layout = data.get("layout") if isinstance(data, dict) else None
    if type(layout) is int and layout > LAYOUT:
        raise UserError(
            "the run folder is laid out in a newer way",
            file=path,
            key="layout",
            found=layout,
            expected=f"at most {LAYOUT}",
            remedy="use a newer RoILab",
        )

    def damaged(key: str, problem: object) -> UserError:
        message = f"{what} is damaged"
        return UserError(message, file=path, key=key, found=problem, expected=_FORM, remedy=_REMEDY)

    if type(layout) is not int:
        raise damaged("layout", "no layout number")
    for name, is_sound in _PARTS.items():
        if name in data and not is_sound(data[name]):
            raise damaged(name, data[name])
    if ("files" in data or "digest" in data) and not _has_own_digest(content):
        raise damaged("digest", "not the digest of the record")
    return {**empty, **data}


def _with_digest(content: bytes) -> bytes:
    return content + _OWN.format(Digest(content)).encode()


def _has_own_digest(content: bytes) -> bool:
    """Whether the content of run.json ends with the digest of everything before."""
    before = content.rpartition(_OWN.partition("{}")[0].encode())[0]
    return content == _with_digest(before)


def _is_start(data: Any) -> bool:
    """Whether data are a start of a run; older runs have fewer keys."""
    if not isinstance(data, dict):
        return False
    start = {"code": None, "versions": {}, "cpu": "", "gpus": [], **data}
    is_code = start["code"] is None or _has(start["code"], commit=str, dirty=bool)
    return is_code and _has(start, versions=dict, cpu=str) and _is_list_of(str, start["gpus"])


def _is_fingerprint(data: Any) -> bool:
    """Whether data are a fingerprint of a data set, see `roilab.engine.provenance`."""
    kinds = {"annotations": list, "images": int, "records": str, "sizes": str, "times": str}
    return _has(data, **kinds, latest=int) and 0 <= data["latest"] < 2**63


def _is_file(name: str, digests: Any) -> bool:
    return _is_own(name) and _is_list_of(str, digests) and any(map(_DIGEST.fullmatch, digests))


def _is_own(name: str) -> bool:
    """Whether a name is that of a file in the folder itself."""
    return name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}


def _has(data: Any, **kinds: type) -> bool:
    """Whether data have these keys, with values of these kinds."""
    return isinstance(data, dict) and all(isinstance(data.get(k), kinds[k]) for k in kinds)


def _is_list_of(kind: type, data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(item, kind) for item in data)


# The parts of a record that not every run has -> whether one is sound.
_PARTS: dict[str, Callable[[Any], bool]] = {
    "starts": lambda data: isinstance(data, list) and all(map(_is_start, data)),
    "files": lambda data: isinstance(data, dict) and all(_is_file(*item) for item in data.items()),
    "data": lambda data: isinstance(data, dict) and all(map(_is_fingerprint, data.values())),
    "accepted": lambda data: _is_list_of(str, data),
}


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write run.json, with the digest of itself."""
    data = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(data, indent=2, ensure_ascii=False).removesuffix("\n}")
    write_whole(folder / RECORD, _with_digest(text.encode("utf-8", "backslashreplace")))


def is_as_written(path: Path) -> bool:
    """Whether the record of a file's folder vouches that RoILab wrote the file as it is.

    It does not where it has no digest of the file, or has one from `accept`.
    """
    record = read_record(path.parent)
    return path.name in record["files"] and path.name not in record["accepted"]


@contextlib.contextmanager
def replacing(folder: Path, new: Mapping[str, str]) -> Iterator[None]:
    """Within the block, files are replaced; wherever it is cut, the record fits the files.

    Args:
        new: name -> digest of the content that the file gets.
    """
    record = read_record(folder)
    files: dict[str, list[str]] = record["files"]
    changed = {name: [digest] for name, digest in new.items() if files.get(name) != [digest]}
    if not changed:
        yield
        return
    both = {}  # digests of the old content and of the new
    for name, digests in changed.items():
        # A file without a digest stays without one until it is replaced.
        if name in files or not (folder / name).exists():
            both[name] = list(dict.fromkeys([*files.get(name, [ABSENT]), *digests]))
    if both:
        write_record(folder, {**record, "files": {**files, **both}})
    yield
    accepted = [name for name in record["accepted"] if name not in new]
    write_record(folder, {**record, "files": {**files, **changed}, "accepted": accepted})


def remove_digests(folder: Path, names: Collection[str]) -> None:
    """Remove from the record the digests of files that are about to be removed or appended to."""
    record = read_record(folder)
    files = {name: digests for name, digests in record["files"].items() if name not in names}
    if files != record["files"]:
        write_record(folder, {**record, "files": files})


def accept(folder: Path, names: Collection[str]) -> None:
    """Accept files of the folder as they are; the record loses the digests of missing ones."""
    record = read_record(folder)
    files = {name: digests for name, digests in record["files"].items() if name not in names}
    for name in names:
        if not _is_own(name) or name == RECORD:
            expected = f"the name of a file of this folder, other than {RECORD}"
            raise UserError("not a file with a digest", file=folder, found=name, expected=expected)
        if (folder / name).exists():
            files[name] = [str(Digest(read_bytes(folder / name)))]
    accepted = sorted({*record["accepted"], *names})
    write_record(folder, {**record, "files": files, "accepted": accepted})


def read_verified(path: Path, *, what: str = "the file", remedy: str | None = None) -> bytes:
    """Read a file, which is as the record of its folder says, if that knows it.

    Args:
        what, remedy: for the message, see `roilab.files.read_bytes`.
    """
    content = read_bytes(path, what=what, remedy=remedy)
    verify(path, content, remedy=remedy)
    return content


def verify(path: Path, content: Any, *, remedy: str | None = None) -> bool:
    """Whether the record of a file's folder knows the file; UserError where it says otherwise.

    Args:
        content: bytes, or the mapped file.
        remedy: an alternative to a sound copy.
    """
    expected = read_record(path.parent)["files"].get(path.name)
    if expected is None:
        return False
    actual = str(Digest(content))
    if actual not in expected:
        command = accept_command(path)
        raise UserError(
            "the file is not as it was written: it was damaged, changed or swapped",
            file=path,
            found=_readable([actual]),
            expected=f"{_readable(expected)}, as {RECORD} says",
            remedy=f"{remedy}, or put a sound copy in its place; if it is meant to be so: {command}"
            if remedy
            else f"put a sound copy in its place; if it is meant to be so: {command}",
        )
    return True


def _readable(digests: Sequence[str]) -> str:
    parts = [digest.partition("-") for digest in digests if digest != ABSENT]
    return " or ".join(f"{size} bytes with the CRC-32 {crc}" for size, _, crc in parts)


def optional_exists(path: Path) -> bool:
    """Whether a file exists that not every run has; one that the record knows has to."""
    if path.exists():
        return True
    if ABSENT not in read_record(path.parent)["files"].get(path.name, [ABSENT]):
        expected = f"the file that {RECORD} has the digest of"
        remedy = f"put a copy in its place; if it is meant to be so: {accept_command(path)}"
        raise UserError("a file of the run is gone", file=path, expected=expected, remedy=remedy)
    return False


def accept_command(path: Path) -> str:
    """The command that accepts a file of a run folder as it is."""
    return f"roilab doctor {argument('run', str(path.parent))} {argument('accept', [path.name])}"
