"""Skeleton files: their mistakes are named."""

import json
import os
from pathlib import Path

import pytest

from roilab import skeleton
from roilab.errors import UserError

NAN, INFINITY = float("nan"), float("inf")
PAIR = skeleton.Skeleton("pair", ("cat",), ("left", "right"), (("left", "right"),), (), (0.1, 0.2))


def test_round_trip_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "pair.json"
    text = json.dumps(PAIR.to_dict()).encode()
    for content in (text, b"\xef\xbb\xbf" + text):
        path.write_bytes(content)
        assert skeleton.load_skeleton(path) == PAIR


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "0x89"),
        (b"[" * 100_000, "not JSON"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"[]", "not a skeleton"),
    ],
    ids=["binary", "deep", "cut", "empty", "long number", "list"],
)
def test_no_skeleton(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pair.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        skeleton.load_skeleton(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["none.json", "", "a\0b", "pipe"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="the skeleton file cannot be read"):
        skeleton.load_skeleton(tmp_path / name)


@pytest.mark.parametrize(
    "sigmas",
    [
        *([0.1, NAN], [NAN, 0.1], [0.1, INFINITY], [0.1, 0], [0.1, -1], [0.1, 10**400]),
        *([0.1], [], ["a", "b"]),
    ],
)
def test_sigmas(tmp_path: Path, sigmas: list[float]) -> None:
    path = tmp_path / "pair.json"
    path.write_text(json.dumps(PAIR.to_dict() | {"sigmas": sigmas}))
    with pytest.raises(UserError) as error:
        skeleton.load_skeleton(path)
    assert str(path) in str(error.value)
