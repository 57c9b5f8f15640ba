"""Writes the same records with array_record or MosaicML's MDSWriter: python write_records.py KIND SIZE.

For each line `COUNT DIRECTORY` on standard input it writes and prints the seconds. In a process of its own,
because what these packages bring cannot share one with TensorFlow. The first line says "ready", or why not.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator

_DIFFERENT = 4000


def main(kind: str, size: int) -> None:
    kinds = {"array_record": array_record, "mds": mds}
    try:
        write = kinds[kind]()
    except (ImportError, KeyError) as error:
        print(f"not installed: {error}", flush=True)
        return
    print("ready", flush=True)
    noise = random.Random(0).randbytes(size + _DIFFERENT)
    pool = [noise[start : start + size] for start in range(_DIFFERENT)]
    for line in sys.stdin:
        count, directory = line.split(maxsplit=1)
        began = time.perf_counter()
        write(directory.strip(), (pool[i % _DIFFERENT] for i in range(int(count))))
        print(time.perf_counter() - began, flush=True)


def array_record() -> Callable[[str, Iterator[bytes]], None]:
    from array_record.python.array_record_module import ArrayRecordWriter

    def write(directory: str, records: Iterator[bytes]) -> None:
        # One record a group, uncompressed: what random access wants, and as the other sides.
        writer = ArrayRecordWriter(
            os.path.join(directory, "x.array_record"), "group_size:1,uncompressed"
        )
        for record in records:
            writer.write(record)
        writer.close()

    return write


def mds() -> Callable[[str, Iterator[bytes]], None]:
    from streaming import MDSWriter

    def write(directory: str, records: Iterator[bytes]) -> None:
        with MDSWriter(out=directory, columns={"x": "bytes"}, size_limit=1 << 28) as writer:
            for record in records:
                writer.write({"x": record})

    return write


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
