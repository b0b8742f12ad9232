"""Child processes that do not outlive their parent."""

import os
import signal
import sys
from collections.abc import Sequence

# It becomes the command. PR_SET_PDEATHSIG of linux/prctl.h is 1: the signal comes when the thread
# that started the child ends. If it has ended before the call, nobody needs the command.
_LAUNCHER = """
import ctypes, os, sys
number, parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, int(number))
if os.getppid() == int(parent):
    os.execvp(command[0], command)
"""


def tied(command: Sequence[str], number: signal.Signals) -> list[str]:
    """A command that gets a signal when this thread ends in any way; on Linux alone."""
    if sys.platform != "linux":
        return list(command)
    launch = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(number.value), str(os.getpid())]
    return [*launch, *command]
