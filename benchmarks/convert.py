"""Writing shards: 10 KB records beside TFRecordWriter, array_record, MDSWriter; images beside TFDS; bounded memory.

The sides of a comparison take turns. Each of ours is all of a conversion with 2 processes, from their start to the
manifest, flushed to the disk; the others flush nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from convert_inputs import Records, write_images
from convert_sides import (
    PEER_PYTHON,
    Peer,
    Side,
    alternate,
    convert_in_memory_of,
    empty_directory,
    image_folder,
    ours,
    tfds_writer,
    tfrecord_writer,
)
from table import Row, report

RECORD_BYTES = 10_000
PROCESSES = 2
TF_WRITER = "a loop over tf.io.TFRecordWriter"
PEERS = {"array_record": "array_record", "mds": "MosaicML's MDSWriter"}
# Size of an image -> how many, and its channels.
IMAGES = {28: (20_000, 1), 224: (4_000, 3)}
MEMORY_BYTES = 1 << 30


def main() -> None:
    flags = parse()
    rows = records(flags.count, flags.runs)
    for side in IMAGES:
        count = IMAGES[side][0] // (5 if flags.quick else 1)
        rows += images(side, count, flags.runs)
    if flags.big_gb:
        rows += bounded(flags.big_gb, flags.memory_bytes)
    report("convert", rows, flags.json)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, under a minute")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE")
    parser.add_argument(
        "--count", type=int, help="records of 10 KB (default 300,000; quick 60,000)"
    )
    parser.add_argument("--runs", type=int, help="turns of each side (default 5; quick 3)")
    parser.add_argument(
        "--big_gb",
        type=float,
        help="size of the data that are 10 times the memory (default 10; quick 0.64; 0 leaves it out)",
    )
    flags = parser.parse_args()
    flags.count = flags.count or (60_000 if flags.quick else 300_000)
    flags.runs = flags.runs or (3 if flags.quick else 5)
    if flags.big_gb is None:
        flags.big_gb = 0.64 if flags.quick else 10.0
    flags.memory_bytes = MEMORY_BYTES if flags.big_gb >= 10 else int(flags.big_gb * 1e8)
    return flags


def records(count: int, runs: int) -> list[Row]:
    """Writing records of 10 KB that are there already."""
    data = Records(count, RECORD_BYTES)
    in_order, shuffled = "in their order", "shuffled"
    sides: dict[str, Side] = {
        in_order: ours(data, PROCESSES, shuffle=False, num_shards=4),
        TF_WRITER: tfrecord_writer(data),
        shuffled: ours(data, PROCESSES, num_shards=4),
    }
    missing = {}
    with ExitStack() as peers:
        for kind, name in PEERS.items():
            peer = Peer(kind, RECORD_BYTES)
            peers.callback(peer.close)
            if peer.missing:
                missing[name] = f"{peer.missing}; see {PEER_PYTHON}"
            else:
                sides[name] = peer.side(count)
        seconds = alternate(sides, runs, warm_bytes=count * RECORD_BYTES)
    what = "10 KB records"
    rows = [
        Row(f"{what}: {name}", count / statistics.median(of_side), "records/s")
        for name, of_side in seconds.items()
    ]
    mine = seconds[in_order]
    rows.append(_ratio(f"{what}: {in_order}", mine, seconds[TF_WRITER], TF_WRITER, 2.0, 2.5))
    rows.append(_ratio(f"{what}: {shuffled}", seconds[shuffled], seconds[TF_WRITER], TF_WRITER))
    for name in PEERS.values():
        if name in missing:
            rows.append(
                Row(
                    f"{what}: {in_order}",
                    None,
                    "ratio",
                    floor=1.0,
                    baseline=f"{name}: {missing[name]}",
                )
            )
        else:
            rows.append(_ratio(f"{what}: {in_order}", mine, seconds[name], name, 1.0))
            rows.append(_ratio(f"{what}: {shuffled}", seconds[shuffled], seconds[name], name))
    return rows


def images(side: int, count: int, runs: int) -> list[Row]:
    """Converting image files, which both sides store as they are."""
    with empty_directory() as directory:
        folder = directory / "images"
        write_images(folder, count, side)
        size = sum(path.stat().st_size for path in folder.glob("*/*"))
        sides = {
            "ours": ours(image_folder(folder), PROCESSES, num_shards=4),
            "theirs": tfds_writer(folder, side, IMAGES[side][1]),
        }
        seconds = alternate(sides, runs, warm_bytes=size)
    what = f"images of {side}x{side}, {size / count / 1000:.1f} KB each"
    tfds = "TFDS's own writer"
    return [
        Row(what, count / statistics.median(seconds["ours"]), "images/s"),
        Row(f"{what}: {tfds}", count / statistics.median(seconds["theirs"]), "images/s"),
        _ratio(what, seconds["ours"], seconds["theirs"], tfds, 1.0),
    ]


def bounded(gigabytes: float, memory_bytes: int) -> list[Row]:
    """Shuffling ten times as much as may be in memory; once, as it takes long."""
    data = Records(int(gigabytes * 1e9 / RECORD_BYTES), RECORD_BYTES)
    with empty_directory() as directory:
        seconds, peak = convert_in_memory_of(data, memory_bytes, PROCESSES, Path(directory))
    what = f"{gigabytes:g} GB shuffled with --memory_bytes={memory_bytes / 1e9:.3g}e9"
    return [
        Row(what, gigabytes * 1000 / seconds, "MB/s"),
        Row(f"{what}: resident at most", peak / 1e6, "MB", "lower", floor=memory_bytes / 1e6),
    ]


def _ratio(
    name: str,
    mine: Sequence[float],
    theirs: Sequence[float],
    whose: str,
    floor: float | None = None,
    target: float | None = None,
) -> Row:
    """Median of the ratios of turns that followed each other; more than 1 means that ours is faster."""
    ratios = [their / my for my, their in zip(mine, theirs, strict=True)]
    return Row(name, statistics.median(ratios), "ratio", "higher", floor, target, whose)


if __name__ == "__main__":
    main()
