"""TFRecord files: TensorFlow reads ours, we read TensorFlow's, and damage is found and placed."""

from __future__ import annotations

import itertools

import pytest
import tensorflow as tf

from tfdml.data.format.record_file import (
    RecordError,
    RecordWriter,
    compression_of,
    detect_compression,
    frame,
    read_at,
    read_records,
    scan,
    walk,
    write_records,
)
from tfdml.errors import DataError

RECORDS = [b"", b"one", b"x" * 1000, bytes(range(256)) * 40]


@pytest.fixture(params=["", "GZIP"])
def compression(request):
    return request.param


def theirs(path, compression="") -> list[bytes]:
    return [r.numpy() for r in tf.data.TFRecordDataset(str(path), compression_type=compression)]


def test_tensorflow_reads_what_we_write(tmp_path, compression):
    path = tmp_path / "ours"
    writer = write_records(path, RECORDS, compression)
    assert theirs(path, compression) == RECORDS
    assert writer.bytes_written == path.stat().st_size
    assert compression_of(path) == compression
    assert scan(path).tolist() == writer.offsets.tolist()
    assert scan(path).dtype == writer.offsets.dtype == "uint64"


def test_we_read_what_tensorflow_writes(tmp_path, compression):
    with tf.io.TFRecordWriter(str(tmp_path / "theirs"), compression) as writer:
        for record in RECORDS:
            writer.write(record)
    assert list(read_records(tmp_path / "theirs")) == RECORDS
    if not compression:
        assert (tmp_path / "theirs").read_bytes() == b"".join(map(frame, RECORDS))


def test_the_checksum_is_that_of_the_file(tmp_path, compression):
    import google_crc32c

    writer = write_records(tmp_path / "a", RECORDS, compression)
    assert writer.crc32c == google_crc32c.value((tmp_path / "a").read_bytes())


def test_the_same_records_give_the_same_file(tmp_path, compression):
    write_records(tmp_path / "a", RECORDS, compression)
    with (tmp_path / "b").open("wb") as file:
        writer = RecordWriter(file, compression)
        writer.write_framed(frame(RECORDS[0]))
        writer.write_many(map(frame, RECORDS[1:2]))
        framed = [frame(record) for record in RECORDS[2:]]
        writer.write_block(memoryview(b"".join(framed)), [len(each) for each in framed])
        with pytest.raises(ValueError, match="3 bytes of records with 2"):
            writer.write_block(b"abc", [2])
        writer.finish()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_reading_by_offset(tmp_path):
    offsets = write_records(tmp_path / "a", RECORDS).offsets.tolist()
    with (tmp_path / "a").open("rb") as file:
        for number in (3, 0, 2, 1):
            assert read_at(file, offsets[number], "a") == RECORDS[number]


def test_an_empty_file_has_no_records(tmp_path, compression):
    write_records(tmp_path / "a", [], compression)
    assert list(read_records(tmp_path / "a")) == []
    assert scan(tmp_path / "a").tolist() == [0]


def test_a_record_that_looks_like_gzip():
    framed = frame(bytes(0x88B1F))
    assert framed.startswith(b"\x1f\x8b\x08")
    assert detect_compression(framed[:12]) == ""


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path):
    path = tmp_path / "a"
    offsets = write_records(path, RECORDS).offsets.tolist()
    good = path.read_bytes()
    places = itertools.chain(
        range(offsets[0], offsets[2]), range(offsets[2], offsets[3], 97), [len(good) - 1]
    )
    for place in places:
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        record = max(i for i in range(4) if offsets[i] <= place)
        with pytest.raises(RecordError, match=f"record {record} at byte") as caught:
            list(read_records(path))
        assert (caught.value.record, caught.value.offset) == (record, offsets[record])
        if place - offsets[record] < 12:
            with pytest.raises(RecordError) as caught:
                scan(path)
            assert caught.value.record == record


def test_a_truncated_file_is_found_wherever_it_ends(tmp_path):
    path = tmp_path / "a"
    offsets = write_records(path, RECORDS).offsets.tolist()
    good = path.read_bytes()
    for size in itertools.chain(range(1, 60), range(60, len(good), 101), [len(good) - 1]):
        path.write_bytes(good[:size])
        if size in offsets:
            assert len(scan(path)) == offsets.index(size) + 1
            continue
        record = max(i for i in range(4) if offsets[i] < size)
        for find in (scan, lambda file: list(read_records(file))):
            with pytest.raises(RecordError, match=r"ends within .*truncated") as caught:
                find(path)
            assert (caught.value.record, caught.value.offset) == (record, offsets[record])


def test_walking_goes_on_behind_a_damaged_record(tmp_path):
    path = tmp_path / "a"
    offsets = write_records(path, RECORDS).offsets.tolist()
    data = bytearray(path.read_bytes())
    data[offsets[1] + 12] ^= 1
    path.write_bytes(data)
    with path.open("rb") as file:
        found = list(walk(file, "a"))
    assert [offset for offset, _ in found] == offsets[:-1]
    assert [record for _, record in found if isinstance(record, bytes)] == [
        RECORDS[i] for i in (0, 2, 3)
    ]
    data[offsets[2]] ^= 1  # the length
    path.write_bytes(data)
    with path.open("rb") as file:
        found = list(walk(file, "a"))
    assert [type(record) for _, record in found] == [bytes, RecordError, RecordError]


def test_damaged_gzip_is_found(tmp_path):
    path = tmp_path / "a"
    write_records(path, RECORDS, "GZIP")
    good = path.read_bytes()
    for size in (15, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(RecordError, match=r"damaged|truncated"):
            list(read_records(path))
    path.write_bytes(good[:60] + bytes([good[60] ^ 4]) + good[61:])
    with pytest.raises(RecordError):
        list(read_records(path))


def test_unknown_compression(tmp_path):
    with pytest.raises(DataError, match="'GZIP' or '' for none, got 'ZIP'"):
        write_records(tmp_path / "a", [], "ZIP")
    assert not list(tmp_path.iterdir())
