"""One folder, one training: who has a lock, when it is taken over, and when not."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

import pytest

from roilab.engine import lock
from roilab.engine.lock import Owner, locked, this_process
from roilab.errors import UserError
from roilab.files import whole


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, as some of networks are."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "flock", flock)


def left_by(path: Path, owner: Owner, *, seconds: float = 0) -> None:
    path.write_text(json.dumps(asdict(owner)))
    then = time.time() - seconds
    os.utime(path, (then, then))


def ended() -> Owner:
    """A process of this machine that is gone."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return this_process(done.pid)


def elsewhere() -> Owner:
    return replace(this_process(), host="another", boot="other")


def locked_owner(path: Path) -> Owner:
    """The owner that the file names while this process has the lock."""
    with locked(path):
        return Owner(**json.loads(path.read_text()))


def refusal(path: Path, match: str = "another process trains") -> str:
    with pytest.raises(UserError, match=match) as error:
        locked_owner(path)
    return str(error.value)


def test_a_second_is_refused(path: Path) -> None:
    with locked(path):
        said = refusal(path)
        assert f"kill {os.getpid()}" in said
        assert f"process {os.getpid()} on {this_process().host}" in said
    assert not path.exists()
    assert locked_owner(path).pid == os.getpid()


def test_one_that_was_killed_is_taken_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with whole(path.with_name("model.pth")) as part:
        owner = ended()
        of_it = part.with_name(part.name.replace(str(os.getpid()), str(owner.pid)))
        another = part.with_name(".of another.1.part")
        for file in (part, of_it, another):
            file.write_bytes(b"half")
        left_by(path, owner)
        with locked(path):
            assert str(owner.pid) in caplog.text
            assert not of_it.exists()
            # Others may be at work on theirs.
            assert another.exists()
            assert part.exists()
        os.utime(another, (0, 0))
        with locked(path):
            assert not another.exists()


def test_one_of_another_machine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SETTLE", 0)
    left_by(path, elsewhere(), seconds=lock.SILENT / 2)
    said = refusal(path, "on another")
    assert "kill" not in said
    assert f"delete {path}" in said
    path.unlink()  # the remedy
    locked_owner(path)
    left_by(path, elsewhere(), seconds=lock.SILENT * 2)
    assert locked_owner(path) != elsewhere()


def test_an_owner_gives_signs_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with locked(path):
        os.utime(path, (0, 0))
        until = time.monotonic() + 60
        while path.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_a_file_system_without_locks(path: Path, monkeypatch, no_locks: None) -> None:
    monkeypatch.setattr(lock, "SETTLE", 0)
    with locked(path):
        refusal(path)
        assert path.exists()
    for owner in (ended(), replace(this_process(), boot="before it was started anew")):
        left_by(path, owner)
        locked_owner(path)


@pytest.mark.parametrize("is_left", [True, False])
def test_of_two_that_begin_at_once_one_gives_way(path, monkeypatch, no_locks, is_left) -> None:
    other = this_process(os.getppid())
    monkeypatch.setattr(time, "sleep", lambda _: left_by(path, other))
    if is_left:
        left_by(path, ended())
    assert f"process {other.pid} " in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "[]",
        '{"host": 1}',
        *(
            json.dumps(asdict(this_process()) | {"pid": pid})
            for pid in ("1", None, True, 0, -1, 10**30)
        ),
    ],
    ids=range(9),
)
def test_a_damaged_file_names_nobody(path: Path, no_locks: None, monkeypatch, content: str) -> None:
    monkeypatch.setattr(lock, "SETTLE", 0)
    path.write_text(content)
    assert locked_owner(path).pid == os.getpid()


def test_one_that_is_being_written_is_anothers(path: Path) -> None:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert str(path.parent) in refusal(path, "wait for it")


def test_the_file_that_is_locked_is_the_one_that_is_there(path: Path, monkeypatch) -> None:
    """The owner before removes its file, and another may be the first to make a new one."""
    flock, others = fcntl.flock, []

    def overtaken(file: IO[str], how: int) -> None:
        if not others:
            path.unlink()
            others.append(path.open("w"))
            flock(others[0], how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    refusal(path)
    others[0].close()
    assert locked_owner(path).pid == os.getpid()


def test_a_fork_does_not_have_it(path: Path) -> None:
    """Loader workers live a little longer than a training that is killed."""
    code = """
import os, sys, time
from pathlib import Path
from roilab.engine.lock import locked

with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        print("forked", flush=True)
        sys.stdin.read()
        os._exit(0)
    time.sleep(60)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, path], **pipes) as begun:
        assert begun.stdout is not None
        assert begun.stdout.readline() == b"forked\n"
        begun.kill()
        begun.wait()
        locked_owner(path)


def test_a_link_is_not_written_through(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("of somebody else")
    path.symlink_to(other)
    refusal(path, "is a link")
    assert other.read_text() == "of somebody else"
