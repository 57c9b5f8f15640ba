"""A whole Slurm on this machine, without systemd: munged, slurmctld and a slurmd for each of two nodes.

Everything is in one temporary directory, sockets and state too, and on ports that are free; root starts
it, and it ends with its processes. The nodes are called 127.0.0.1 and 127.0.0.2, so that their names mean
this machine to TensorFlow wherever the tests run. They claim more CPUs and memory than there may be, and
four GPUs each, which are copies of /dev/null: Slurm hands them out as it does real ones. 64 more nodes
exist in the configuration alone, for `sbatch --test-only`.

To try something by hand:

    .venv/bin/python -m tests.slurm.cluster
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tfdml.cluster.ports import free_ports

PROGRAMS = (
    *("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo"),
    "setpriv",
)
NODES = ("127.0.0.1", "127.0.0.2")
GPUS = 4
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin", "/sbin"])
_START_SECONDS = 60.0
_FACT = re.compile(r"([\w/:]+)=(\S*)")
_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE")

_CONFIGURATION = """
ClusterName=tfdml
SlurmctldHost={hostname}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job starts again when the credential of its first run has expired, by default after 120 s.
AuthInfo=socket={directory}/munge.socket,cred_expire=5
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
# The nodes have what is written below, whatever this machine has.
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
# What a cluster may well have, and a generated file has to put up with.
KillOnBadExit=1
# The port of a step's tasks follows from the job's number: another cluster here should have others.
FirstJobId={first_job}
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# Nodes in the cloud that nobody has switched on can be planned with, like nodes that are up.
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=3600
SuspendExcNodes=127.0.0.[1-2]
NodeName=127.0.0.1 NodeHostname={hostname} NodeAddr=127.0.0.1 Port={port_1} CPUs=8 RealMemory=65536 Gres=gpu:4
NodeName=127.0.0.2 NodeHostname={hostname} NodeAddr=127.0.0.1 Port={port_2} CPUs=8 RealMemory=65536 Gres=gpu:4
NodeName=g[1-64] NodeHostname=nowhere NodeAddr=127.0.0.1 CPUs=32 RealMemory=262144 Gres=gpu:8 State=CLOUD
PartitionName=main Nodes=127.0.0.[1-2] Default=YES PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=127.0.0.[1-2] PriorityTier=10 PreemptMode=OFF
PartitionName=big Nodes=g[1-64]
"""
_GPUS = """
NodeName=127.0.0.[1-2] Name=gpu File={directory}/gpu[0-3]
NodeName=g[1-64] Name=gpu Count=8
"""


def why_not() -> str:
    """Why no cluster can be started here, or ""."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons have to be started by root"


class Cluster:
    """Starts on entry; on exit every job, daemon and file of it goes."""

    def __init__(self) -> None:
        # munged wants its socket where everybody may get at it, and sockets want short paths.
        self.directory = Path(tempfile.mkdtemp(prefix="tfdml-slurm-"))
        self.directory.chmod(0o755)
        self._configuration = self.directory / "slurm.conf"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        self.environ = {**inherited, "PATH": PATH, "SLURM_CONF": str(self._configuration)}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        try:
            self._configure()
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *command: str, cwd: Path | None = None, seconds: float = 60.0) -> str:
        """What a command prints; its failure is an AssertionError with what it said."""
        done = self.attempt(*command, cwd=cwd, seconds=seconds)
        assert done.returncode == 0, (
            f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def attempt(
        self, *command: str, cwd: Path | None = None, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd or self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def submit(self, file: Path, *options: str) -> str:
        """The number of the job; it runs in the directory of `file`, its log is job.log there."""
        command = ("sbatch", "--parsable", "--output=job.log", *options, file.name)
        return self.run(*command, cwd=file.parent).strip()

    def facts(self, job: str) -> dict[str, str]:
        return dict(_FACT.findall(self.run("scontrol", "--oneliner", "show", "job", job)))

    def wait(self, job: str, seconds: float = 120.0) -> dict[str, str]:
        """The facts of a job that has ended."""
        deadline = time.monotonic() + seconds
        while (facts := self.facts(job))["JobState"] not in _ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} has not ended within {seconds:g} s: {facts}")
            time.sleep(0.3)
        return facts

    def log(self, daemon: str) -> str:
        path = self.directory / f"{daemon}.log"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        if self._daemons and self._configuration.exists():
            self.attempt("scancel", "--signal=KILL", "--full", "--user=root")
            self.attempt("scancel", "--user=root")
            deadline = time.monotonic() + 20.0
            while self.attempt("squeue", "--noheader").stdout and time.monotonic() < deadline:
                time.sleep(0.3)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20.0)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        # What runs a step detaches itself from slurmd, and outlives it where a job did not end.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self._is_ours(process):
                    process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _configure(self) -> None:
        controller_port, port_1, port_2 = free_ports(3)
        values = {
            "directory": self.directory,
            "hostname": os.uname().nodename.partition(".")[0],
            "controller_port": controller_port,
            "port_1": port_1,
            "port_2": port_2,
            "first_job": 1000 + os.getpid(),
        }
        self._configuration.write_text(_CONFIGURATION.format(**values))
        (self.directory / "gres.conf").write_text(_GPUS.format(**values))
        key = self.directory / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        for gpu in range(GPUS):
            os.mknod(self.directory / f"gpu{gpu}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.directory / name).mkdir()

    def _start(self) -> None:
        at = self.directory
        self._begin(
            "munged",
            "munged",
            "--foreground",
            f"--key-file={at}/munge.key",
            f"--socket={at}/munge.socket",
            f"--pid-file={at}/munged.pid",
            f"--seed-file={at}/munged.seed",
        )
        self._until(lambda: (at / "munge.socket").exists())
        self._begin("slurmctld", "slurmctld", "-D")
        self._until(lambda: self.attempt("scontrol", "ping").returncode == 0)
        for node in NODES:
            self._begin(f"slurmd-{node}", "slurmd", "-D", "-N", node)
        idle = ("sinfo", "--noheader", "--partition=main", "--states=idle", "--format=%D")
        self._until(lambda: self.attempt(*idle).stdout.strip() == str(len(NODES)))

    def _begin(self, name: str, *command: str) -> None:
        # It ends with this process, too, however that ends.
        command = ("setpriv", "--pdeathsig=TERM", *command)
        with (self.directory / f"{name}.log").open("wb") as log:
            daemon = subprocess.Popen(
                command, cwd=self.directory, env=self.environ, stdout=log, stderr=log
            )
        self._daemons.append(daemon)

    def _until(self, holds) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not holds():
            ended = any(daemon.poll() is not None for daemon in self._daemons)
            if ended or time.monotonic() > deadline:
                logs = [path.read_text()[-2000:] for path in self.directory.glob("*.log")]
                raise RuntimeError("Slurm did not start:\n" + "\n".join(logs))
            time.sleep(0.1)

    def _is_ours(self, process: psutil.Process) -> bool:
        """By the environment, or, for slurmstepd, which writes over its own, by slurmd's directory."""
        ours = process.environ().get("SLURM_CONF") == str(self._configuration)
        return ours or process.cwd() == str(self.directory)


def main() -> None:
    """Keep a cluster until Ctrl-C or SIGTERM."""
    if reason := why_not():
        sys.exit(reason)
    with Cluster() as cluster:
        print(f"export SLURM_CONF={cluster.environ['SLURM_CONF']}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
