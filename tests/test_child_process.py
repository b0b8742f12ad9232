"""A child process ends with the one that began it."""

import signal
import subprocess
import sys

import pytest

from roilab.child_process import tied

CHILD = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('asked'))); "
    "print('up', flush=True); time.sleep(60)"
)
PARENT = (
    "import signal, subprocess, sys; from roilab.child_process import tied; "
    f"subprocess.run(tied([sys.executable, '-c', {CHILD!r}], signal.SIGTERM))"
)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child")


@needs_linux
def test_a_child_is_told_that_its_parent_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        assert parent.stdout.read() == b"asked\n"  # until the child has ended


@needs_linux
def test_what_nobody_waits_for_does_not_begin() -> None:
    command = tied([sys.executable, "-c", "print('begun')"], signal.SIGTERM)
    command[command.index(str(signal.SIGTERM.value)) + 1] = "1"  # another's parent
    assert subprocess.run(command, capture_output=True, check=True).stdout == b""
    own = tied(["echo", "a b"], signal.SIGTERM)
    assert subprocess.run(own, capture_output=True, check=True).stdout == b"a b\n"
