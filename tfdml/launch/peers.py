"""Names the tasks on other hosts that do not answer, while TensorFlow waits without a word."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from tfdml.cluster.ports import answers

_RETRY_SECONDS = 1.0


class PeerWatch:
    """Connects to every address until each has answered once, in a thread of its own.

    `say` gets a line every `report_seconds` while some do not answer; `give_up` gets one after
    `timeout_seconds`, and the watch ends.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        timeout_seconds: float,
        say: Callable[[str], None],
        give_up: Callable[[str], None],
        report_seconds: float = 30.0,
    ) -> None:
        self._silent = list(addresses)
        self._timeout_seconds = timeout_seconds
        self._report_seconds = report_seconds
        self._say = say
        self._give_up = give_up
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def is_watching(self) -> bool:
        """Whether there is still an address to wait for."""
        return self._thread.is_alive()

    def close(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        start = time.monotonic()
        next_report = self._report_seconds
        while not self._stop.is_set():
            self._silent = [address for address in self._silent if not answers(address)]
            waited = time.monotonic() - start
            if not self._silent or self._stop.is_set():
                return
            silent = ", ".join(self._silent)
            if waited >= self._timeout_seconds:
                self._give_up(
                    f"{silent} did not answer within {waited:.0f} s: start the same line there "
                    "with its own --node_index, check the address and the firewall, or allow more "
                    "time with --start_timeout_seconds."
                )
                return
            if waited >= next_report:
                self._say(f"waiting for {silent} ({waited:.0f} s)")
                next_report += self._report_seconds
            self._stop.wait(_RETRY_SECONDS)
