"""One side of input.py with data that is not in memory and does not fit into it; prints examples/s.

python input_cold.py SIDE DIRECTORY RECORD_BYTES NUM_RECORDS NUM_SHARDS BATCH SECONDS
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MEMORY_BYTES = 1_500_000_000


@contextlib.contextmanager
def limited_memory() -> Iterator[str | None]:
    """A file to write a process's number to, which then has `MEMORY_BYTES`, page cache included; or None."""
    for root, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        group = Path(root) / f"tfdml-input-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(MEMORY_BYTES))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield str(group / "cgroup.procs")
        finally:
            time.sleep(0.2)  # the last process is still being taken out
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    yield None


def disk_of(path: Path) -> str:
    """Which disk holds `path`, as the kernel names it."""
    device = os.stat(path).st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for candidate in (block, block.parent):
        if (candidate / "queue").is_dir():

            def read(name: str, disk: Path = candidate) -> str:
                file = disk / name
                return file.read_text().strip() if file.is_file() else ""

            kind = {"0": "no spinning disk", "1": "a spinning disk, or one that says so"}
            model = read("device/model") or "no model name"
            return (
                f"{candidate.name} ({model}; {kind.get(read('queue/rotational'), 'unknown kind')}; "
                f"read ahead {read('queue/read_ahead_kb')} KiB)"
            )
    return "a disk that the kernel does not name"


def run(side: str, records, batch: int, seconds: float, join: str | None) -> float:
    """Examples/s in a process of its own, limited in memory by `join`."""
    words = [side, records.directory, records.record_bytes, records.num_records]
    words += [records.num_shards, batch, seconds]
    command = [sys.executable, __file__, *map(str, words)]
    environment = os.environ | ({"TFDML_JOIN": join} if join else {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{side}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def main() -> None:
    side, directory, record_bytes, num_records, num_shards, batch, seconds = sys.argv[1:]
    if join := os.environ.get("TFDML_JOIN"):
        Path(join).write_text(str(os.getpid()))
    import input_sides

    records = input_sides.Records(
        Path(directory), int(record_bytes), int(num_records), int(num_shards)
    )
    records.drop_from_memory()
    # No warm-up: what it reads would be in memory.
    print(input_sides.turn(getattr(input_sides, side), records, int(batch), 0.0, float(seconds)))


if __name__ == "__main__":
    main()
