"""Create .venv and install the pinned requirements, the package itself and Detectron2.

`make setup` and every other make command run it. With a valid stamp it does nothing, and it
continues an interrupted run. Standard library only, in a syntax that Python 3.6 parses, so that an
old Python reaches the line that rejects it.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, ".installed")

if sys.version_info < (3, 11):
    # The Python of a finished .venv is newer, and continues.
    if os.path.exists(STAMP) and os.path.exists(VENV_PYTHON):
        os.execv(VENV_PYTHON, [VENV_PYTHON, os.path.abspath(__file__)])
    sys.exit(
        "error: Python 3.11 or newer is needed, found {}.{};"
        " choose one with `make PYTHON=python3.12 ...`".format(*sys.version_info[:2])
    )

import errno
import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

LOCK = Path(ROOT, "requirements", "lock.txt")
DETECTRON2 = Path(ROOT, "requirements", "detectron2.txt")
LOG = ".venv/install.log"

PRINT_VERSION = "import sys; print(sys.version_info[:2])"
GIB = 1024**3
# torch with its CUDA libraries takes 5.5 GiB, and pip holds the downloads beside it for a while.
SPACE_NEEDED = 8 * GIB

UNREACHABLE = re.compile(
    "connection broken by|Failed to establish a new connection|Max retries exceeded"
    "|Temporary failure in name resolution|Name or service not known|Network is unreachable"
    "|ReadTimeoutError|ConnectTimeoutError|ProxyError|SSLError|ConnectionResetError"
)


class SetupError(Exception):
    """A failed step of the setup, with its reason in one line."""


def main() -> int:
    """Install what is missing; return the exit status."""
    try:
        if not is_installed():
            install()
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        return 130
    except (SetupError, OSError) as error:
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        print(f"error: {disk_full() if is_full else error}", file=sys.stderr)
        return 1
    return 0


def is_installed() -> bool:
    """Whether .venv has a stamp, and its pins, Python and place are still the same."""
    version = run_in_venv("-I", "-S", "-c", PRINT_VERSION) if os.path.exists(STAMP) else None
    return version is not None and Path(STAMP).read_text() == fingerprint(version)


def fingerprint(version: str) -> str:
    """The stamp: a hash of pins, pyproject.toml, Python's version and the checkout's path.

    The path counts because the editable install and the venv's scripts contain it.
    """
    content = hashlib.sha256()
    files = (path.read_bytes() for path in (LOCK, DETECTRON2, Path(ROOT, "pyproject.toml")))
    for part in (*files, version.encode(), ROOT.encode()):
        content.update(hashlib.sha256(part).digest())
    return content.hexdigest() + "\n"


def install() -> None:
    """Run every step that is not done yet, then write the stamp; SetupError where one fails."""
    started = time.monotonic()
    Path(STAMP).unlink(missing_ok=True)
    make_venv()
    if run_in_venv("-c", "import importlib.metadata; importlib.metadata.version('torch')") is None:
        check_space()
    print(f"installing into .venv; pip writes to {LOG}", flush=True)
    pip("torch and everything else", "install", "-r", str(LOCK))
    if run_in_venv("-c", "import detectron2") is None:
        install_detectron2()
    pip("roilab", "install", "--no-build-isolation", "--no-deps", "-e", ROOT)
    code = "import torch, torchvision, cv2, pycocotools.mask, detectron2.structures, roilab"
    done = call(VENV_PYTHON, "-W", "ignore", "-c", code)
    if done.returncode:  # it gets no stamp
        reason = last_line(done.stderr)
        remedy = "see `python scripts/doctor.py`"
        raise SetupError(f"installed, but not importable ({reason}); {remedy}")
    Path(STAMP).write_text(fingerprint(run_in_venv("-I", "-S", "-c", PRINT_VERSION) or ""))
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)


def make_venv() -> None:
    """Repair the existing .venv if possible, else create one; either has pip."""
    # Without pyvenv.cfg the Python in .venv is the system's, which must not change.
    if run_in_venv("-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)") is not None and (
        run_in_venv("-c", "import pip") is not None or run_in_venv("-m", "ensurepip") is not None
    ):
        return
    if not (find_spec("ensurepip") and find_spec("venv")):
        package = "apt install python{}.{}-venv".format(*sys.version_info[:2])
        raise SetupError(f"this Python has no venv module; on Debian and Ubuntu: {package}")
    check_space()
    print("making .venv with Python {}.{}.{}".format(*sys.version_info[:3]), flush=True)
    done = call(sys.executable, "-m", "venv", "--clear", VENV, folder=ROOT)
    if done.returncode:
        output = done.stdout + done.stderr
        reason = f"python -m venv failed: {last_line(output)}"
        raise SetupError(disk_full() if is_disk_full(output) else reason)


def install_detectron2() -> None:
    """Install the pinned Detectron2 wheel as a whole, so that no half of it is importable.

    The options let pip accept a wheel of another CPython; see requirements/detectron2.txt.
    """
    site = run_in_venv("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    staging = Path(VENV, "detectron2.partial")
    shutil.rmtree(staging, ignore_errors=True)
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", "3.10"]
    pip("detectron2", "install", *options, "--target", str(staging), "-r", str(DETECTRON2))
    # The package comes last: while it is missing, the next run repeats this step.
    for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == "detectron2"):
        place = Path(site or "", entry.name)
        if place.is_dir():
            shutil.rmtree(place)
        entry.replace(place)
    staging.rmdir()


def call(*command: str, folder: str = VENV):
    """Run a command and capture its output. In .venv no folder of the checkout is a package."""
    stdin = subprocess.DEVNULL
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True, cwd=folder)


def last_line(output: str) -> str:
    """The last line of a command's output, which names the reason of a failure."""
    return (output.strip().splitlines() or ["no output"])[-1]


def run_in_venv(*arguments: str):
    """Standard output of the venv's Python with these arguments, None if that fails."""
    try:
        done = call(VENV_PYTHON, *arguments)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def pip(what: str, *arguments: str) -> None:
    """Run the venv's pip, its output into the log, and show progress; SetupError where it fails."""
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    started = time.monotonic()
    with Path(ROOT, LOG).open("a+", encoding="utf-8", errors="replace") as log:
        begin = log.seek(0, os.SEEK_END)
        log.write("\n$ pip {}\n".format(" ".join(arguments)))
        log.flush()
        command = [VENV_PYTHON, "-m", "pip", "--no-input", *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        # A running clock on a terminal, a line every half minute elsewhere.
        line, end, period = "  {}: {:.0f} s, still going", "\n", 30.0
        if sys.stdout.isatty():
            line, end, period = "\r  {}: {:.0f} s ...", "", 0.5
        try:
            while process.poll() is None:
                try:
                    process.wait(timeout=period)
                except subprocess.TimeoutExpired:
                    print(line.format(what, time.monotonic() - started), end=end, flush=True)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        log.seek(begin)
        output = log.read()
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    if process.returncode:
        print(end=clear, flush=True)
        raise SetupError(explain_pip(output))
    print(f"{clear}  {what}: {time.monotonic() - started:.0f} s", flush=True)


def explain_pip(output: str) -> str:
    """The reason of a failed pip run in one line, from its output."""
    if is_disk_full(output):
        return disk_full()
    reasons = [line[len("ERROR:") :] for line in output.splitlines() if line.startswith("ERROR:")]
    reason = f"pip failed: {reasons[-1].strip() if reasons else 'no reason given'}"
    if UNREACHABLE.search(output):
        reason = "the package registry cannot be reached"
        reason += "; check the network or your pip configuration"
    return f"{reason} (log: {LOG})"


def is_disk_full(output: str) -> bool:
    """Whether a command's output reports a full disk."""
    return "No space left on device" in output or "Disk quota exceeded" in output


def check_space() -> None:
    """Raise SetupError where less space is free than torch and its libraries need."""
    if shutil.disk_usage(ROOT).free < SPACE_NEEDED:
        raise SetupError(disk_full())


def disk_full() -> str:
    """The error for a full disk: the free space, and the space needed."""
    temporary = tempfile.gettempdir()
    here, there = (shutil.disk_usage(folder).free / GIB for folder in (ROOT, temporary))
    return (
        f"the disk is full: .venv needs about {SPACE_NEEDED / GIB:.0f} GiB,"
        f" {here:.1f} GiB are free here and {there:.1f} GiB in {temporary}"
        " (TMPDIR moves that); make room and run the same command again"
    )


if __name__ == "__main__":
    sys.exit(main())
