"""Reading shards in globally shuffled order beside reading them from start to end, and beginning in the middle."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import input_cold
import tensorflow as tf
from input_sides import SEQUENTIAL, Records, parse, shuffled, source, turn
from table import Row, parse_flags, report

from tfdml.checkpoint import Position
from tfdml.data.order import Slice

# Bytes of a record -> records, and examples of a batch. 200 to 400 MB each: all of it stays in memory.
WARM = [
    (1_000, 200_000, 128),
    (1_000, 200_000, 1024),
    (10_000, 40_000, 128),
    (100_000, 4_000, 32),
]
# More than the memory that a process gets; 64 shards, so that windows of one shard are small beside it.
COLD = [(1_000, 2_500_000, 1024), (10_000, 250_000, 128), (100_000, 25_000, 32)]
RESUME_RECORDS = 1_000_000
RESUME_BATCH = 128


def kilobytes(record_bytes: int, batch: int) -> str:
    return f"{record_bytes // 1000} KB, batches of {batch}"


def from_memory(directory: Path, rounds: int, seconds: float) -> list[Row]:
    rows = []
    for record_bytes, num_records, batch in WARM:
        records = Records(directory / f"warm-{record_bytes}", record_bytes, num_records)
        records.write()
        ours: list[float] = []
        theirs: dict[str, list[float]] = {name: [] for name in SEQUENTIAL}
        for _ in range(rounds):
            ours.append(turn(shuffled, records, batch, seconds / 3, seconds))
            for name, side in SEQUENTIAL.items():
                theirs[name].append(turn(side, records, batch, seconds / 3, seconds))
        best = max(theirs, key=lambda name: statistics.median(theirs[name]))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs[best], strict=True))
        name = f"{kilobytes(record_bytes, batch)}: "
        rows += [
            Row(f"{name}shuffled", statistics.median(ours), "examples/s"),
            Row(f"{name}in order, {best}", statistics.median(theirs[best]), "examples/s"),
            Row(f"{name}ratio", ratio, "", floor=0.9, target=1.0, baseline="TFRecordDataset"),
        ]
    return rows


def from_disk(directory: Path, rounds: int, seconds: float) -> list[Row]:
    rows = []
    with input_cold.limited_memory() as join:
        memory = "no cgroup: each side reads data that was dropped from memory, once"
        if join is not None:
            memory = f"{input_cold.MEMORY_BYTES / 1e9:.1f} GB of memory, page cache included"
        print(f"cold: {input_cold.disk_of(directory)}; {memory}", flush=True)
        for record_bytes, num_records, batch in COLD:
            records = Records(directory / f"cold-{record_bytes}", record_bytes, num_records, 64)
            records.write()
            found: dict[str, list[float]] = {"sequential": [], "shuffled": [], "windows": []}
            for _ in range(rounds):
                for side, values in found.items():
                    values.append(input_cold.run(side, records, batch, seconds, join))
            name = f"{kilobytes(record_bytes, batch)}, cold: "
            reference = found["sequential"]
            rows.append(Row(f"{name}in order", statistics.median(reference), "examples/s"))
            for side, what in (("shuffled", "shuffled"), ("windows", 'shuffle="shards"')):
                ratios = [a / b for a, b in zip(found[side], reference, strict=True)]
                rows.append(
                    Row(f"{name}{what}", statistics.median(ratios), "", baseline="in order, cold")
                )
            for path in records.paths:
                os.unlink(path)
    return rows


def resuming(directory: Path, rounds: int) -> list[Row]:
    """Seconds from nothing to the first batch, the making of the pipeline included."""
    records = Records(directory / "resume", 200, RESUME_RECORDS)
    records.write()
    data = source(records, RESUME_BATCH)
    steps = data.steps_per_epoch

    def at(part: float) -> Callable[[], tf.data.Dataset]:
        return lambda: data.dataset(Position(0, int(steps * part), 0), Slice())

    def skipping() -> tf.data.Dataset:
        whole = tf.data.TFRecordDataset(records.paths).batch(RESUME_BATCH).map(parse)
        return whole.skip(int(steps * 0.9))

    sides = {f"at {part:.0%}": at(part) for part in (0.0, 0.1, 0.5, 0.9)} | {"skip": skipping}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            if name == "skip" and number > 2:
                continue  # it takes seconds
            begin = time.perf_counter()
            next(iter(side()))
            if number:  # the first round opens files and loads ops
                found[name].append(time.perf_counter() - begin)
    rows = []
    for name in sides:
        seconds = statistics.median(found[name])
        what = "TFRecordDataset.skip to 90%" if name == "skip" else f"begin {name} of an epoch"
        bound = None if name == "skip" else 0.5
        rows.append(Row(f"1,000,000 records: {what}", seconds, "s", "lower", bound))
    return rows


def array_record(directory: Path, rounds: int, seconds: float) -> list[Row]:
    """The same records in array_record's format, read at random, a batch a call, and parsed."""
    name = kilobytes(10_000, 128) + ": array_record, shuffled"
    try:
        from array_record.python import array_record_data_source, array_record_module
    except ImportError:
        return [Row(f"{name} (not installed)", None, "examples/s")]
    import numpy as np

    records = Records(directory / "warm-10000", 10_000, 40_000)
    records.write()
    path = str(directory / "peer.array_record")
    writer = array_record_module.ArrayRecordWriter(path, "group_size:1")
    for record in tf.data.TFRecordDataset(records.paths).as_numpy_iterator():
        writer.write(record)
    writer.close()
    generator = np.random.default_rng(0)
    rates, ours = [], []
    with array_record_data_source.ArrayRecordDataSource([path]) as peer:
        for _ in range(rounds):
            end, examples = time.perf_counter() + seconds, 0
            begin = time.perf_counter()
            while time.perf_counter() < end:
                ids = generator.integers(0, len(peer), 128)
                parse(tf.constant(peer.__getitems__(ids.tolist())))
                examples += len(ids)
            rates.append(examples / (time.perf_counter() - begin))
            ours.append(turn(shuffled, records, 128, seconds / 3, seconds))
    ratio = statistics.median(a / b for a, b in zip(ours, rates, strict=True))
    return [
        Row(name, statistics.median(rates), "examples/s"),
        Row(kilobytes(10_000, 128) + ": ratio", ratio, "", baseline="array_record, one thread"),
    ]


def main() -> None:
    flags = parse_flags(__doc__ or "")
    # As many threads on every machine, and the same cores for all sides.
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    tf.config.threading.set_inter_op_parallelism_threads(len(cores))
    tf.config.threading.set_intra_op_parallelism_threads(len(cores))
    rounds, seconds = (3, 0.2) if flags.quick else (9, 1.0)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TFDML_BENCHMARK_DIR")) as name:
        directory = Path(name)
        rows = from_memory(directory, rounds, seconds)
        rows += array_record(directory, rounds, seconds)
        rows += resuming(directory, rounds)
        if flags.quick:
            rows.append(Row("cold (full run only)", None, ""))
        else:
            rows += from_disk(directory, rounds=3, seconds=5.0)
    report(f"input, {len(cores)} cores, load {os.getloadavg()[0]:.1f}", rows, flags.json)


if __name__ == "__main__":
    main()
