"""Several programs of several processes each take turns on one link, one exchange at a time.

Every program runs once per worker and waits for orders on its standard input, so that the sides of a comparison
run within the same seconds and nothing is started twice. All processes of a program begin at a time that
the order names (they share the machine's clock), and an exchange has ended when the last of them has.

Needs the standard library only: the processes may run in an interpreter without tfdml.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

IDLE_SECONDS = 0.05  # the link's queues are empty and its tokens are full again
START_SECONDS = 300.0  # native ops may have to be compiled
ORDER_SECONDS = 120.0
_LAST_CHARACTERS = 3000
_ANSWERS = (
    "TAKING_TURNS_ANSWERS"  # the file descriptor for them: libraries print to standard output
)


# -- in the processes


@dataclass(frozen=True)
class Side:
    """One way to exchange gradients.

    Attributes:
        findings: a result to look at, untimed; the value of "digest" must be the same in all processes.
        exchange: what is timed.
        prepare: what must happen before an exchange, untimed.
    """

    findings: Callable[[], dict[str, Any]]
    exchange: Callable[[], Any] = lambda: None
    prepare: Callable[[], Any] = lambda: None


def serve(
    sides: Mapping[str, Side], skipped: Mapping[str, str] | None = None, note: str = ""
) -> None:
    """Carry out orders until the input closes.

    Args:
        skipped: why sides are missing.
        note: what a reader of the figures must know about this program.
    """
    answers = os.fdopen(int(os.environ[_ANSWERS]), "w")

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    answer(sides=list(sides), skipped=dict(skipped or {}), note=note)
    for line in sys.stdin:
        order = json.loads(line)
        side = sides[order["side"]]
        if order["do"] == "findings":
            answer(**side.findings())
            continue
        side.prepare()
        time.sleep(max(0.0, order["at"] - time.monotonic()))
        side.exchange()
        answer(end=time.monotonic())


# -- in the benchmark


class Starter(Protocol):
    """What `Programs` needs of a `linkbench.Link`."""

    workers: int

    def start(self, index: int, command: Sequence[str], **options: Any) -> subprocess.Popen: ...
    def environment(self, index: int) -> dict[str, str]: ...


class Program:
    """One program's processes, one a worker, up to the moment when all have said what they can do.

    Args:
        command: started in the namespace of every worker, on the core `cores[index % len(cores)]`.
        limit_seconds: how long the processes may take to answer one order.

    Raises:
        RuntimeError: a process ended or did not answer in time; here and in `seconds` and `findings`.
    """

    def __init__(
        self,
        link: Starter,
        command: Sequence[str],
        cores: Sequence[int],
        environment: Mapping[str, str],
        *,
        limit_seconds: float = ORDER_SECONDS,
    ):
        self._limit_seconds = limit_seconds
        self._name = os.path.basename(command[1])
        self._orders, self._replies, self._outputs = [], [], []
        for index in range(link.workers):
            reply, answers = os.pipe()
            output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (read much later)
            with os.fdopen(answers):  # closed here, so that the end of the process is seen
                process = link.start(
                    index,
                    ["taskset", "--cpu-list", str(cores[index % len(cores)]), *command],
                    env=link.environment(index) | dict(environment) | {_ANSWERS: str(answers)},
                    pass_fds=[answers],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            self._orders.append(process.stdin)
            self._replies.append(os.fdopen(reply))
            self._outputs.append(output)
        ready = self._answers(START_SECONDS)
        self.sides: list[str] = ready[0]["sides"]
        self.skipped: dict[str, str] = ready[0]["skipped"]
        self.note: str = ready[0]["note"]

    def seconds(self, side: str) -> float:
        """How long one exchange takes, after an idle gap."""
        at = time.monotonic() + IDLE_SECONDS
        ends = self._order(do="exchange", side=side, at=at)
        return max(end["end"] for end in ends) - at

    def findings(self, side: str) -> dict[str, Any]:
        """Those of the first worker.

        Raises:
            RuntimeError: the workers hold different bits.
        """
        found = self._order(do="findings", side=side)
        if len({worker["digest"] for worker in found}) != 1:
            raise RuntimeError(f"{side}: the workers hold different bits: {found}")
        return found[0]

    def _order(self, **order: Any) -> list[dict[str, Any]]:
        for orders in self._orders:
            with contextlib.suppress(BrokenPipeError):  # that there is no answer tells more
                orders.write(json.dumps(order) + "\n")
                orders.flush()
        return self._answers(self._limit_seconds, order["side"])

    def _answers(self, limit_seconds: float, side: str = "start") -> list[dict[str, Any]]:
        deadline = time.monotonic() + limit_seconds
        answers = []
        for index, reply in enumerate(self._replies):
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([reply], [], [], left)
            # An answer is one line and the only one, so what can be read can be read to its end.
            line = reply.readline() if readable else ""
            if not line:
                how = "ended" if readable else f"did not answer within {limit_seconds:g} seconds"
                raise RuntimeError(
                    f"{self._name}, {side}: worker {index} {how}:\n{self._last_words()}"
                )
            answers.append(json.loads(line))
        return answers

    def _last_words(self) -> str:
        texts = []
        for index, output in enumerate(self._outputs):
            output.seek(0)
            texts.append(f"===== worker {index} =====\n{output.read()[-_LAST_CHARACTERS:]}")
        return "\n".join(texts)
