"""Spill files: which record is in which run, and what is not whole is not read."""

from __future__ import annotations

import numpy as np
import pytest

from tfdml.data.conversion.spill import (
    SpillReader,
    SpillWriter,
    blocks,
    read_summary,
    run_records,
)
from tfdml.data.format.record_file import FOOTER_BYTES, HEADER_BYTES


def write(path, records, groups, **settings):
    settings = {"chunk_bytes": 1 << 20, "labels": True, "key": None, **settings}
    writer = SpillWriter(path, groups, **settings)
    for number, (split, record) in enumerate(records):
        writer.add(split, record, number)
    return writer.finish()


def runs(path, part, groups) -> list[list[tuple[bytes, int]]]:
    """Of each run: records and labels."""
    reader, found = SpillReader(path), []
    for run in range(min(groups, part.records)):
        count = run_records(part.records, groups, run)
        begin, end = reader.run_bounds(part, run)
        data = reader.read(begin, end - begin)
        lengths, labels = np.frombuffer(data, "<u4", 2 * count).reshape(2, count).tolist()
        at, of_run = 8 * count, []
        for length, label in zip(lengths, labels, strict=True):
            of_run.append((data[at + HEADER_BYTES : at + length - FOOTER_BYTES], label))
            at += length
        assert at == len(data)
        found.append(of_run)
    reader.close()
    return found


def test_a_run_has_every_nth_record(tmp_path):
    records = [("a", b"%d" % i) for i in range(10)]
    summary = write(tmp_path / "s", records, {"a": 3, "b": 5})
    (part,) = summary.parts
    assert (part.split, part.records) == ("a", 10)
    assert part.frame_bytes == 10 * (1 + HEADER_BYTES + FOOTER_BYTES)
    found = runs(tmp_path / "s", part, 3)
    assert [[label for _, label in run] for run in found] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert all(record == b"%d" % label for run in found for record, label in run)


def test_more_groups_than_records(tmp_path):
    (part,) = write(tmp_path / "s", [("a", b"x"), ("a", b"y")], {"a": 100}).parts
    assert runs(tmp_path / "s", part, 100) == [[(b"x", 0)], [(b"y", 1)]]


def test_chunks_are_cut_by_bytes_and_keep_splits_apart(tmp_path):
    records = [("ab"[i % 2], bytes(100)) for i in range(10)]
    summary = write(tmp_path / "s", records, {"a": 1, "b": 1}, chunk_bytes=400)
    assert [(part.split, part.records) for part in summary.parts] == [
        ("a", 2), ("b", 2), ("a", 2), ("b", 2), ("a", 1), ("b", 1)
    ]  # fmt: skip
    assert read_summary(tmp_path / "s") == summary


def test_a_key_shuffles(tmp_path):
    records = [("a", b"%d" % i) for i in range(100)]
    orders = []
    for key in ((0, 1), (0, 2), (1, 1)):
        (part,) = write(tmp_path / "s", records, {"a": 1}, key=key).parts
        orders.append([label for _, label in runs(tmp_path / "s", part, 1)[0]])
        assert sorted(orders[-1]) == list(range(100))
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_what_is_not_whole_has_no_summary(tmp_path, damage):
    path = tmp_path / "s"
    write(path, [("a", b"x")], {"a": 1})
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-30] ^= 1
    path.write_bytes({"cut": data[:-1], "flipped": data, "empty": b""}[damage])
    assert read_summary(path) is None


def test_blocks_cover_all_records():
    sizes = np.array([1 << 19, 1 << 19, 10, 1 << 21, 5])
    assert list(blocks(sizes)) == [(0, 2), (2, 4), (4, 5)]
    assert list(blocks(sizes[:0])) == []
