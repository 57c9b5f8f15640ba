"""A slow network on one machine: a command in each of several namespaces, over links that are checked first.

    python benchmarks/linkbench.py --rate=200mbit --workers=2 -- python train.py --name={index}

`limited_link.py` makes the namespaces; other benchmarks use `Link` and `check_link` from here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from limited_link import BURST, DEVICE, Link, bits_per_second

from tfdml.errors import ConfigError, exit_on_user_error

__all__ = ["DEVICE", "Link", "Passage", "bits_per_second", "check_link", "run_everywhere"]

PROBE = Path(__file__).parent / "link_probe.py"
PROBE_PORT = 2221
PROBE_SIZES = (500_000, 1_000_000, 16_000_000)
IDLE_SECONDS = 0.05
MOST_OVER_RATE = 1.15


# -- is the limit honest?


@dataclass(frozen=True)
class Passage:
    """How long `num_bytes` took from worker `sender` to worker `receiver`: the fastest of a few."""

    sender: int
    receiver: int
    num_bytes: int
    seconds: float

    @property
    def bits_per_second(self) -> float:
        return 8 * self.num_bytes / self.seconds

    def describe(self) -> str:
        return (
            f"worker {self.sender} to {self.receiver}: {self.num_bytes / 1e6:g} MB at "
            f"{self.bits_per_second / 1e6:,.0f} Mbit/s"
        )


def check_link(link: Link) -> list[Passage]:
    """Send 0.5, 1 and 16 MB after idle gaps from every worker to the next, over plain sockets.

    Raises:
        ConfigError: some were faster than the rate allows by over 15%.
    """
    passages = []
    for sender in range(link.workers):
        receiver = (sender + 1) % link.workers
        passages += _send(link, sender, receiver)
    limit = bits_per_second(link.rate)
    if limit is None:
        return passages
    for passage in passages:
        if passage.bits_per_second > MOST_OVER_RATE * limit:
            raise ConfigError(
                f"the link is faster than it says: worker {passage.sender} sent {passage.num_bytes:,} bytes to "
                f"worker {passage.receiver} in {1000 * passage.seconds:.1f} ms, and {link.rate} takes "
                f"{8000 * passage.num_bytes / limit:.1f} ms; at most {MOST_OVER_RATE - 1:.0%} faster is allowed. "
                f"Use a smaller burst than {link.burst}."
            )
    return passages


def _send(link: Link, sender: int, receiver: int) -> Iterator[Passage]:
    command = [sys.executable, "-S", "-E", str(PROBE)]
    listener = link.start(receiver, [*command, "receive", str(PROBE_PORT)], stdout=subprocess.PIPE)
    listener.stdout.readline()
    # Small ones three times: the fastest shows what can pass for free.
    sizes = [size for size in PROBE_SIZES for _ in range(3 if size < 10_000_000 else 1)]
    target = [link.addresses[receiver], str(PROBE_PORT), str(IDLE_SECONDS), *map(str, sizes)]
    client = link.start(sender, [*command, "send", *target], stdout=subprocess.PIPE)
    output, _ = client.communicate()
    listener.wait()
    if client.returncode != 0:
        raise RuntimeError(f"the probe of the link ended with status {client.returncode}")
    seconds = json.loads(output)
    for size in PROBE_SIZES:
        fastest = min(s for s, n in zip(seconds, sizes, strict=True) if n == size)
        yield Passage(sender, receiver, size, fastest)


# -- the command line


def run_everywhere(link: Link, command: Sequence[str]) -> int:
    """Run `command` in every namespace, "{index}" replaced, its output prefixed; end all when one fails.

    Returns:
        0, or the status of the first that failed.
    """
    processes, readers = [], []
    for index in range(link.workers):
        process = link.start(
            index,
            [part.replace("{index}", str(index)) for part in command],
            env=link.environment(index),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        reader = threading.Thread(target=_copy, args=(process, f"[worker {index}] "), daemon=True)
        reader.start()
        processes.append(process)
        readers.append(reader)
    while True:
        statuses = [process.poll() for process in processes]
        failed = [status for status in statuses if status]
        if failed or None not in statuses:
            break
        time.sleep(0.05)
    if not failed:
        for reader in readers:
            reader.join()
    return failed[0] if failed else 0


def _copy(process: subprocess.Popen, prefix: str) -> None:
    with contextlib.suppress(ValueError):  # the link was closed
        for line in process.stdout:
            sys.stdout.write(prefix + line)
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", default="none", help="of each link: 200mbit, 1gbit, none")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--burst", default=BURST, help="bytes that may pass at once, as tc says it")
    parser.add_argument("command", nargs="+", help="after --; {index} becomes the worker's number")
    flags = parser.parse_args()
    with exit_on_user_error(), Link(flags.workers, flags.rate, burst=flags.burst) as link:
        for passage in check_link(link):
            print(passage.describe(), file=sys.stderr)
        status = run_everywhere(link, flags.command)
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
