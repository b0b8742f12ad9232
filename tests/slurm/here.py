"""A SLURM of one machine, without systemd and without accounting, for tests: root starts it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.sweep.runs import wait_for

SLURMD_SECONDS = 10  # after which a machine that does not answer is taken for lost
KILL_SECONDS = 20  # between SIGTERM and SIGKILL

CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CryptoType=crypto/munge
ProctrackType=proctrack/{tracking}
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdTimeout={timeout}
KillWait={wait}
MinJobAge={age}
BatchStartTimeout=300
MessageTimeout=60
SchedulerParameters=bf_interval=2,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory={memory} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES DefMemPerCPU=1 MaxTime=60 PriorityTier=1 State=UP
PartitionName=high Nodes={host} DefMemPerCPU=1 MaxTime=60 PriorityTier=2 State=UP
PartitionName=kill Nodes={host} DefMemPerCPU=1 PriorityTier=1 PreemptMode=CANCEL State=UP
"""


def missing() -> str:
    """Why there can be no SLURM here; empty where there can."""
    for program in ("slurmctld", "slurmd", "munged", "sbatch"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            return f"{program} is not installed"
    return "" if os.geteuid() == 0 else "SLURM's daemons are started by root"


def alive(number: int) -> bool:
    """Whether a process runs: one that has ended and that nobody has asked about does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class Slurm:
    """The daemons, and what is asked of them.

    Args:
        folder: of their files.
        tracking: how they know the processes of a job: `linuxproc` or `pgid`.
        age: seconds for which they remember a job that is over.
    """

    def __init__(self, folder: Path, tracking: str = "linuxproc", age: int = 300) -> None:
        self.folder, self.tracking = folder, tracking
        self.host = socket.gethostname().partition(".")[0]
        for name in ("munge", "spool", "state"):
            (folder / name).mkdir(parents=True)
        self.conf = folder / "slurm.conf"
        sizes = {"timeout": SLURMD_SECONDS, "wait": KILL_SECONDS, "age": age, "memory": 2000}
        places = {"host": self.host, "folder": folder, "ports": _free_ports(2)}
        self.conf.write_text(CONF.format(tracking=tracking, **places, **sizes))
        path = f"{os.environ['PATH']}:/usr/sbin"
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf), "PATH": path}

    def start(self) -> None:
        """Start the daemons, and wait for the machine to be idle."""
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
        files |= {"log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={munge / name}" for option, name in files.items()]
        self.call("munged", "--force", *options)
        self.call("slurmctld")
        self.start_machine()

    def start_machine(self) -> None:
        self.call("slurmd")
        wait_for(lambda: "idle" in self.call("sinfo", "--noheader", "--format=%t"))

    def stop(self) -> None:
        """End all jobs and all daemons."""
        self.call("scancel", "--user=root", check=False)
        self.kill_machine()
        self.end("slurmctld.pid")
        self.end("munge/pid")

    def kill_machine(self) -> None:
        """End the machine's daemon, and each process of its jobs, as when it loses its power."""
        self.end("slurmd.pid", signal.SIGKILL)
        for number in self.processes():
            _send(number, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Of all jobs that run, their daemons included."""
        numbers = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes().split(b"\0")
                words = (path / "cmdline").read_bytes()
            except OSError:
                continue
            ours = f"SLURM_CONF={self.conf}".encode() in environment
            inside = any(variable.startswith(b"SLURM_JOB_ID=") for variable in environment)
            if ours and (inside or words.startswith(b"slurmstepd")):
                numbers.append(int(path.name))
        return numbers

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End the daemon whose number is in a file, and wait for it."""
        file = self.folder / name
        if not file.is_file():
            return
        daemon = int(file.read_text())
        _send(daemon, number)
        wait_for(lambda: not alive(daemon))
        file.unlink(missing_ok=True)

    def call(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


def _send(number: int, what: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, what)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
