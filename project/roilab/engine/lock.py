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
from contextlib import contextmanager
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

    def is_alive(self) -> bool:
        """Whether there is such a process, for an owner on this machine."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # another user's
        return True


def this_process(pid: int | None = None) -> Owner:
    """This process as an owner, or another of this machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not on macOS
        boot = ""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return Owner(platform.node(), pid or os.getpid(), since, boot)


class Lock:
    """A lock that this process has.

    Attributes:
        descriptor: of the open file; a process that inherits it also has the lock.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file, self.descriptor = file, file.fileno()

    def name(self, owner: Owner) -> None:
        """Write who has the lock."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(asdict(owner)) + "\n")
        self._file.flush()
        os.fsync(self.descriptor)


@contextmanager
def locked(path: Path, message: str = "another process trains in this folder") -> Iterator[Lock]:
    """Within the block, this process alone has a folder; the file `path` in it names the owner.

    The operating system holds the lock and releases it when the process ends, however it ends, so
    that a process of this machine never blocks the next. For an owner on another machine, and
    where a file system has no locks, the file counts: its owner touches it every minute.

    Parts of files that the owner before left when it was killed are removed.

    Args:
        message: of the UserError.
    """
    with writing(path):
        file, held = _open(path, message)
    try:
        owner, here = _read_owner(file), this_process()
        if owner is not None:
            if not _is_gone(owner, here, path, held):
                raise _refused(path, message, owner)
            log.warning("%s was left by %s, which is gone: taken over", path, owner)
        lock = Lock(file)
        with writing(path):
            lock.name(here)
        if not held or (owner is not None and owner.host != here.host):
            time.sleep(SETTLE)
            with path.open(encoding="utf-8") as again:
                winner = _read_owner(again)
            if winner != here:
                raise _refused(path, message, winner)
        try:
            remove_parts(path.parent, owner.pid if owner else None)
            with _beating(path):
                yield lock
        finally:
            path.unlink(missing_ok=True)  # before the release: the next owner creates its own
    finally:
        file.close()


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
    if owner.host != here.host:
        return _seconds_since(path) > SILENT
    return owner.boot != here.boot or held or not owner.is_alive()


def _seconds_since(path: Path) -> float:
    """Seconds since a file was written, by the clock of its file system."""
    with tempfile.TemporaryFile(dir=path.parent) as now:
        now.write(b"now")
        now.flush()
        return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime


def _refused(path: Path, message: str, owner: Owner | None) -> UserError:
    if owner is None:
        remedy = "wait for it, or end it"
    elif owner.host == platform.node():
        remedy = f"wait for it, or end it: kill {owner.pid}"
    else:
        remedy = (
            f"wait for it, or end it there; if it is gone with its machine, delete {path}, or "
            f"wait: after {SILENT / 60:.0f} minutes without a sign of life it is taken over"
        )
    return UserError(message, file=path.parent, found=owner, remedy=remedy)


@contextmanager
def _beating(path: Path) -> Iterator[None]:
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(path)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        over.set()
