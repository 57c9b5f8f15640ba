"""The hold that a launcher has on one that it started through ssh: the latter's standard input."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import BinaryIO

from tfdml.errors import ConfigError
from tfdml.launch.job import Job

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Control:
    """Reads what `ssh.py` sends: variables first, then signals. Its end is the end of the job."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read the variables, and put them into this process's environment. Raises `ConfigError`."""
        self._stream = stream
        try:
            variables = json.loads(stream.readline())
            os.environ.update(variables)
        except (ValueError, TypeError):
            raise ConfigError(
                "--ssh_remote is for launchers that another one has started with --ssh: leave it out."
            ) from None

    @classmethod
    def of_standard_input(cls) -> Control:
        # Unbuffered, because a line must be acted upon when it comes.
        return cls(open(0, "rb", buffering=0, closefd=False))

    def follow(self, job: Job) -> None:
        """Do with `job`, from a thread, what comes from now on."""
        threading.Thread(target=self._read, args=(job,), daemon=True).start()

    def _read(self, job: Job) -> None:
        stopping = False
        for line in self._stream:
            signum = int(line)
            if signum not in _ENDING:
                job.pass_on(signum)
                continue
            stopping = True
            job.stop(signum)
        # The other side waits for the grace period, unless it is in a hurry or gone.
        job.stop(signal.SIGINT if stopping else signal.SIGTERM, "ended, because the connection did")
