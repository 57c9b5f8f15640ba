"""Starts the same command line on the other hosts of a job, through the system's ssh.

Each of them runs a launcher of its own with `--ssh_remote`, whose standard input is this launcher's hold on
it: the first line has the variables that were asked for, later ones the numbers of signals, and its end
means that the connection or this launcher is gone, which ends the tasks there (`control.py`). So nothing
depends on a terminal at the other end, and no variable shows up in a list of processes.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tfdml.cluster.hosts import Host
from tfdml.errors import ConfigError
from tfdml.launch.guard import Guard, registration
from tfdml.launch.plan import Remote, Task
from tfdml.launch.start import Process, Starter, kill_group

VARIABLE = "TFDML_SSH"  # Another command in place of `ssh`, with its own options.
CONNECT_SECONDS = 10
# A host that is cut off is noticed after three of these.
_ALIVE_SECONDS = 5
_OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
    *("-o", f"ConnectTimeout={CONNECT_SECONDS}"),
    *("-o", f"ServerAliveInterval={_ALIVE_SECONDS}", "-o", "ServerAliveCountMax=3"),
)


def remotes(
    hosts: Sequence[Host],
    own_index: int | None,
    flags: Sequence[str],
    script: str,
    arguments: Sequence[str],
    names: Sequence[str],
    environ: Mapping[str, str] | None = None,
) -> list[Remote]:
    """One for each of `hosts` but this one, with the launcher's `flags` and its own --node_index.

    `names` are the environment variables to take along. Raises `ConfigError`.
    """
    environ = os.environ if environ is None else environ
    missing = [name for name in names if name not in environ]
    if missing:
        raise ConfigError(
            f"--ssh_env={missing[0]} names a variable that is not set here: set it, or leave it out."
        )
    first_line = json.dumps({name: environ[name] for name in names})
    listed = ",".join(f"{_bracketed(host.name)}:{host.slots}" for host in hosts)
    found = []
    for index, host in enumerate(hosts):
        if index == own_index:
            continue
        launch = ["-m", "tfdml", "launch", f"--hosts={listed}", f"--node_index={index}", *flags]
        command = [sys.executable, *launch, "--ssh_remote", script, *arguments]
        found.append(Remote(host.name, _ssh(host.name, command, environ), first_line))
    return found


def _ssh(host: str, command: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    ssh = shlex.split(environ.get(VARIABLE, "")) or ["ssh"]
    here, python = str(Path.cwd()), command[0]
    checks = (
        f"cd {shlex.quote(here)} 2>/dev/null || {_complaint(host, 'the directory', here)}; "
        f"test -x {shlex.quote(python)} || {_complaint(host, 'the python', python)}; "
    )
    # Through a shell of our own: the login shell there may be any.
    return (
        *ssh,
        *_OPTIONS,
        "--",
        host,
        shlex.join(["/bin/sh", "-c", checks + "exec " + shlex.join(command)]),
    )


def _complaint(host: str, what: str, path: str) -> str:
    text = (
        f"error: host {host} does not have {what} {path}: --ssh runs the same command in the same "
        "directory there; put it on storage that all hosts share, or make it there too."
    )
    return f"{{ echo {shlex.quote(text)} >&2; exit 2; }}"


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


class WithSsh:
    """A starter of this host's tasks that starts launchers on other hosts, too."""

    def __init__(self, here: Starter) -> None:
        self._here = here
        self.name = here.name

    def prepare(self, environment: Mapping[str, str], guard: Guard) -> None:
        self._here.prepare(environment, guard)

    def start(self, task: Task | Remote, output_fd: int, guard: Guard) -> Process:
        if isinstance(task, Remote):
            return _Connection(task, output_fd, guard)
        return self._here.start(task, output_fd, guard)

    def close(self) -> None:
        self._here.close()


class _Connection:
    """An ssh client, as a process to wait for. It ends with the launcher on its host, and that with it."""

    def __init__(self, remote: Remote, output_fd: int, guard: Guard) -> None:
        self._popen = subprocess.Popen(
            remote.command,
            stdin=subprocess.PIPE,
            stdout=output_fd,
            stderr=output_fd,
            process_group=0,  # Ctrl-C is for the launcher to hand on, once.
        )
        self.pid = self._popen.pid
        # Should this launcher be killed meanwhile, the end of the pipe ends the connection all the same.
        os.write(guard.fd, registration(self.pid))
        self._send(remote.first_line)

    def wait(self) -> int:
        # As for a task: while it has not been waited for, its number names no other group.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        kill_group(self.pid, signal.SIGKILL)
        status = self._popen.wait()
        with suppress(BrokenPipeError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()
        return status

    def end(self, signum: int) -> None:
        if signum == signal.SIGKILL:
            kill_group(self.pid, signum)
        else:
            self._send(str(int(signum)))

    def pass_on(self, signum: int) -> None:
        self._send(str(int(signum)))

    def _send(self, line: str) -> None:
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # It has ended, which `wait` will tell.
            os.write(self._popen.stdin.fileno(), line.encode() + b"\n")
