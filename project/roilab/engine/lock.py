"""One folder, one training: a lock that names its owner."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from roilab.errors import UserError
from roilab.files import refuse_link, remove_parts, writing

log = logging.getLogger(__name__)

BEAT = 60.0  # seconds from one sign of life of an owner to the next
SILENT = 600.0  # seconds without one after which an owner on another machine counts as gone
SETTLE = 2.0  # seconds after which two processes that write the same lock file see each other
_MOST = 2**31  # the numbers of processes are smaller
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@dataclass(frozen=True)
class Owner:
    """The process that has a lock.

    Attributes:
        host: the name of its machine.
        since: when it took the lock, UTC.
        boot: identifies the start of the machine; a reboot changes it.
    """

    host: str
    pid: int
    since: str
    boot: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} UTC"


def this_process(pid: int | None = None) -> Owner:
    """This process as an owner, or another of this machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not on macOS
        boot = ""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return Owner(platform.node(), pid or os.getpid(), since, boot)


def write_owner(file: IO[str], owner: Owner) -> None:
    """Write into the file of a lock who has it."""
    file.seek(0)
    file.truncate()
    file.write(json.dumps(asdict(owner)) + "\n")
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path, message: str = "another process trains in this folder") -> Iterator[IO[str]]:
    """Within the block, this process alone has a folder; the file `path` in it names the owner.

    The operating system holds the lock and releases it when the process ends, however it ends, so
    that a process of this machine never blocks the next. For an owner on another machine, and
    where a file system has no locks, the file counts: its owner touches it every minute.

    Parts of files that the owner before left when it was killed are removed.

    Returns:
        The open file `path`; a process that inherits it also has the lock.
    """
    with writing(path):
        file, held = _open(path, message)
    with file:
        owner = _read_owner(file)
        here = this_process()
        if owner is not None:
            if not _is_gone(owner, here, path, held):
                raise _refused(path, message, owner)
            log.warning("%s was left by %s, which is gone: taken over", path, owner)
        with writing(path):
            write_owner(file, here)
        if not held or (owner is not None and owner.host != here.host):
            time.sleep(SETTLE)
            with path.open(encoding="utf-8") as again:
                winner = _read_owner(again)
            if winner != here:
                raise _refused(path, message, winner)

        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT):
                with contextlib.suppress(OSError):
                    os.utime(path)

        threading.Thread(target=beat, daemon=True).start()
        try:
            remove_parts(path.parent, owner.pid if owner else None)
            yield file
        finally:
            over.set()
            path.unlink(missing_ok=True)  # before the release: the next owner creates its own


def _open(path: Path, message: str) -> tuple[IO[str], bool]:
    """Open the file; returns it, and whether the operating system locks it."""
    refuse_link(path)
    while True:
        file = path.open("a+", encoding="utf-8")
        held = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _read_owner(file)
            file.close()
            raise _refused(path, message, owner) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.close()
                raise
            held = False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                # A loader's worker must not keep the lock when the training has ended.
                os.register_at_fork(after_in_child=file.close)
                return file, held
        file.close()  # the last owner has just removed it


def _read_owner(file: IO[str]) -> Owner | None:
    """The owner that a file names; None: none, or it is damaged, or being written."""
    file.seek(0)
    try:
        owner = Owner(**json.loads(file.read()))
    except (ValueError, TypeError, RecursionError):
        return None
    is_sound = all(type(getattr(owner, field.name)) is field.type for field in fields(Owner))
    return owner if is_sound and 0 < owner.pid < _MOST else None


def _is_gone(owner: Owner, here: Owner, path: Path, held: bool) -> bool:
    """Whether the owner that a lock file names no longer has it; see `locked`."""
    if owner.host == here.host:
        if held or owner.boot != here.boot:
            return True
        try:
            os.kill(owner.pid, 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)  # else it is another user's
        return False
    with tempfile.TemporaryFile(dir=path.parent) as now:  # by the clock of the file system
        now.write(b"now")
        now.flush()
        return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime > SILENT


def _refused(path: Path, message: str, owner: Owner | None) -> UserError:
    remedy = "wait for it, or end it"
    if owner is not None and owner.host == platform.node():
        remedy = f"wait for it, or end it: kill {owner.pid}"
    elif owner is not None:
        remedy = (
            f"wait for it, or end it there; if it is gone with its machine, delete {path}, or "
            f"wait: after {SILENT / 60:.0f} minutes without a sign of life it is taken over"
        )
    return UserError(message, file=path.parent, found=owner, remedy=remedy)
