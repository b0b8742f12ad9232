"""Make .venv and install what requirements/ pins, the package itself and a Detectron2.

Run by `make setup` and by every other make command. A second run finds the stamp and does nothing;
an interrupted run is continued by the next. Standard library only, in a syntax that Python 3.6
parses: an old Python gets as far as the line that says so.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, ".installed")
OLDEST = (3, 11)

if sys.version_info < OLDEST:
    # A .venv that is finished was made by a newer Python, which then goes on with it.
    if os.path.exists(STAMP) and os.path.exists(VENV_PYTHON):
        os.execv(VENV_PYTHON, [VENV_PYTHON, os.path.abspath(__file__)])
    sys.exit(
        "error: Python 3.11 or newer is needed, found {}.{};"
        " choose one with `make PYTHON=python3.12 ...`".format(*sys.version_info[:2])
    )

import errno
import hashlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

LOCK = Path(ROOT, "requirements", "lock.txt")
DETECTRON2 = Path(ROOT, "requirements", "detectron2.txt")
PROJECT = Path(ROOT, "pyproject.toml")
LOG = Path(VENV, "install.log")

GIB = 1024**3
# torch with its CUDA libraries takes 5.5 GiB, and pip holds the downloads beside it for a while.
SPACE_NEEDED = 8 * GIB

UNREACHABLE = (
    "connection broken by",
    "Failed to establish a new connection",
    "Max retries exceeded",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "ReadTimeoutError",
    "ConnectTimeoutError",
    "ProxyError",
    "SSLError",
    "ConnectionResetError",
)


class SetupError(Exception):
    """An obstacle to the setup, in one line."""


def main() -> int:
    """Install what is missing; return the exit status."""
    try:
        if not is_installed():
            install()
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        return 130
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {explain_os_error(error)}", file=sys.stderr)
        return 1
    return 0


def is_installed() -> bool:
    """Whether the stamp says that this .venv holds what requirements/ asks for now."""
    stamp = Path(STAMP)
    if not stamp.is_file():
        return False
    version = run_in_venv("import sys; print(sys.version_info[:2])", "-I", "-S")
    return version is not None and stamp.read_text() == fingerprint(version)


def fingerprint(version: str) -> str:
    """What the stamp holds: a hash of pins, pyproject.toml, the interpreter's version, the place.

    The place counts because the editable install and the venv's scripts name it.
    """
    content = hashlib.sha256()
    files = (path.read_bytes() for path in (LOCK, DETECTRON2, PROJECT))
    for part in (*files, version.encode(), ROOT.encode()):
        content.update(hashlib.sha256(part).digest())
    return content.hexdigest() + "\n"


def install() -> None:
    """Every step that is not done yet, then the stamp.

    Raises:
        SetupError: a step failed.
    """
    started = time.monotonic()
    Path(STAMP).unlink(missing_ok=True)
    make_venv()
    if run_in_venv("import importlib.metadata; importlib.metadata.version('torch')") is None:
        check_space()
    say(f"installing into .venv; pip's own words go to {relative(LOG)}")
    pip("torch and everything else", "install", "-r", str(LOCK))
    if run_in_venv("import detectron2") is None:
        install_detectron2()
    pip("roilab", "install", "--no-build-isolation", "--no-deps", "-e", ROOT)
    version = run_in_venv("import sys; print(sys.version_info[:2])", "-I", "-S")
    check_imports()
    partial = Path(STAMP + ".partial")
    partial.write_text(fingerprint(version or ""))
    partial.replace(STAMP)
    say(f"installed in {time.monotonic() - started:.0f} s")


def make_venv() -> None:
    """Make a .venv with pip: repair the existing one if possible, else make a new one."""
    # Without its pyvenv.cfg the Python in .venv is the one it links to, and not ours to change.
    if run_in_venv("import sys; sys.exit(sys.prefix == sys.base_prefix)") is not None and (
        run_in_venv("import pip") is not None or run_in_venv(None, "-m", "ensurepip") is not None
    ):
        return
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        raise SetupError(
            f"this Python has no venv module; on Debian and Ubuntu: apt install {package}"
        ) from None
    check_space()
    say("making .venv with Python {}.{}.{}".format(*sys.version_info[:3]))
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode:
        if is_disk_full(made.stdout):
            raise SetupError(disk_full())
        last = (made.stdout.strip().splitlines() or ["no output"])[-1]
        raise SetupError(f"python -m venv failed: {last}")


def install_detectron2() -> None:
    """The pinned Detectron2 wheel, moved into place whole, so that no half of it is importable.

    The options make pip take a wheel tagged for another CPython; see requirements/detectron2.txt.
    """
    site = run_in_venv("import sysconfig; print(sysconfig.get_path('purelib'))")
    staging = Path(VENV, "detectron2.partial")
    shutil.rmtree(staging, ignore_errors=True)
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", "3.10"]
    pip("detectron2", "install", *options, "--target", str(staging), "-r", str(DETECTRON2))
    # The package comes last: as long as it is missing, the next run starts this step again.
    for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == "detectron2"):
        place = Path(site or "", entry.name)
        if place.is_dir():
            shutil.rmtree(place)
        entry.replace(place)
    staging.rmdir()


def check_imports() -> None:
    """Import what was installed, so that a broken install does not get its stamp."""
    code = "import torch, torchvision, cv2, pycocotools.mask, detectron2.structures, roilab"
    found = subprocess.run(
        [VENV_PYTHON, "-W", "ignore", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=VENV,
    )
    if found.returncode:
        last = (found.stderr.strip().splitlines() or ["no output"])[-1]
        raise SetupError(f"installed, but not importable ({last}); see `python scripts/doctor.py`")


def run_in_venv(code, *options):
    """Standard output of `code` (or of the options alone) in the venv's Python, None if that fails.

    It runs inside .venv, so that no folder of the checkout is taken for a package.
    """
    command = [VENV_PYTHON, *options] + ([] if code is None else ["-c", code])
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=VENV,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def pip(what: str, *arguments: str) -> None:
    """Run the venv's pip, its output into the log; show what is going on meanwhile.

    Raises:
        SetupError: pip failed, with the reason its output gives.
    """
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    started = time.monotonic()
    with LOG.open("a+", encoding="utf-8", errors="replace") as log:
        begin = log.seek(0, os.SEEK_END)
        log.write("\n$ pip {}\n".format(" ".join(arguments)))
        log.flush()
        process = subprocess.Popen(
            [VENV_PYTHON, "-m", "pip", "--no-input", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            watch(process, what, started)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        log.seek(begin)
        output = log.read()
    if process.returncode:
        raise SetupError(explain_pip(output))
    say(f"  {what}: {time.monotonic() - started:.0f} s")


def watch(process, what: str, started: float) -> None:
    """Wait for the process: a running clock on a terminal, a line every half minute elsewhere."""
    terminal = sys.stdout.isatty()
    spoken = started
    while True:
        try:
            process.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        if terminal:
            print(f"\r  {what}: {now - started:.0f} s ...", end="", flush=True)
        elif now - spoken >= 30:
            spoken = now
            say(f"  {what}: {now - started:.0f} s, still going")
    if terminal:
        print("\r\033[K", end="", flush=True)


def explain_pip(output: str) -> str:
    """The reason of a failed pip run in one line, from all it printed."""
    if is_disk_full(output):
        return disk_full()
    if any(sign in output for sign in UNREACHABLE):
        return (
            "the package registry cannot be reached; check the network or your pip configuration"
            f" (log: {relative(LOG)})"
        )
    reasons = [line for line in output.splitlines() if line.startswith("ERROR:")]
    reason = reasons[-1][len("ERROR:") :].strip() if reasons else "no reason given"
    return f"pip failed: {reason} (log: {relative(LOG)})"


def is_disk_full(output: str) -> bool:
    """Whether a command's output speaks of a full disk."""
    return "No space left on device" in output or "Disk quota exceeded" in output


def explain_os_error(error: OSError) -> str:
    """One line for an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full()
    return str(error)


def check_space() -> None:
    """Refuse to begin an installation that will not fit.

    Raises:
        SetupError: less is free than torch and its libraries need.
    """
    if shutil.disk_usage(ROOT).free < SPACE_NEEDED:
        raise SetupError(disk_full())


def disk_full() -> str:
    """The error for a full disk: the free space, and the space needed."""
    free = shutil.disk_usage(ROOT).free / GIB
    temporary = tempfile.gettempdir()
    free_temporary = shutil.disk_usage(temporary).free / GIB
    return (
        f"the disk is full: .venv needs about {SPACE_NEEDED / GIB:.0f} GiB,"
        f" {free:.1f} GiB are free here and {free_temporary:.1f} GiB in {temporary}"
        " (TMPDIR moves that); make room and run the same command again"
    )


def relative(path: Path) -> str:
    """The path as seen from the checkout."""
    return str(path.relative_to(ROOT))


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
