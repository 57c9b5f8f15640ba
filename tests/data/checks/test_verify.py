"""`verify` finds every kind of damage, says where, and finds nothing in a whole directory."""

from __future__ import annotations

import json
import shutil
import uuid

import numpy as np
import pytest

from tests.data.directories import SCHEMA, png, row, write_directory
from tfdml.data.checks.verify import plan_verify, verify
from tfdml.data.format.example import encode
from tfdml.data.format.features import Feature
from tfdml.data.format.index import Index, index_path
from tfdml.data.format.record_file import scan, write_records
from tfdml.errors import DataError
from tfdml.storage import storage_for

SHARD = "toy-train.tfrecord-00001-of-00002"


def findings(directory, **options) -> list[str]:
    return [str(each) for each in verify(plan_verify(directory, **options)).findings]


@pytest.fixture
def directory(tmp_path):
    write_directory(tmp_path, {"train": 21, "test": 5})
    return tmp_path


@pytest.mark.parametrize("compression", ["", "GZIP"])
@pytest.mark.parametrize("full", [False, True])
def test_a_whole_directory(tmp_path, compression, full):
    write_directory(tmp_path, {"train": 21, "test": 5}, compression)
    report = verify(plan_verify(tmp_path, full=full, sample=4))
    assert report.findings == ()
    assert (report.shards, report.records) == (4, 26)
    assert report.decoded == (26 if full else 4 + 4 + 3 + 2)
    assert report.num_bytes == sum(f.stat().st_size for f in tmp_path.glob("*.tfrecord-*"))


def test_processes_find_the_same(directory):
    flip(directory / SHARD, 100)
    plan = plan_verify(directory)
    done = []
    report = verify(plan, num_processes=2, on_progress=lambda rows, size: done.append((rows, size)))
    assert report == verify(plan)
    assert sum(rows for rows, _ in done) == 26


def flip(path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_is_found_wherever_it_is(directory):
    good = (directory / SHARD).read_bytes()
    offsets = scan(directory / SHARD).tolist()
    for place in [
        *range(offsets[3], offsets[3] + 20),
        *range(offsets[3] + 20, offsets[4], 13),
        len(good) - 1,
    ]:
        flip(directory / SHARD, place)
        record = 3 if place < offsets[4] else 9
        found = findings(directory)
        assert f"{SHARD}: " in found[0] and f"record {record} at byte" in found[0]
        (directory / SHARD).write_bytes(good)
    assert findings(directory) == []


def test_every_damaged_record_is_named_but_not_a_million(directory):
    offsets = scan(directory / SHARD).tolist()
    for record in (2, 5, 7):
        flip(directory / SHARD, offsets[record] + 20)
    assert [f.partition(" at byte")[0] for f in findings(directory)] == [
        f"{SHARD}: record {record}" for record in (2, 5, 7)
    ]
    for record in range(10):
        flip(directory / SHARD, offsets[record] + 30)
    write_records(directory / SHARD, [b"not an example"] * 500)
    found = [f for f in findings(directory, full=True) if f.startswith(SHARD)]
    assert len(found) == 11
    assert found[-1].endswith("findings more")


def test_missing_and_truncated_shards(directory):
    (directory / SHARD).unlink()
    assert findings(directory) == [f"{SHARD}: is missing"]
    other = SHARD.replace("00001-of", "00000-of")
    path = directory / other
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size - 40])
    found = "\n".join(findings(directory))
    assert f"{other}: ends within record 10" in found
    assert f"{other}: has {size - 40:,} bytes, the manifest says {size:,}" in found
    # cut between two records: every record that is left is whole
    path.write_bytes(path.read_bytes()[: int(scan(directory / other.replace("train", "test"))[0])])
    found = "\n".join(findings(directory))
    assert f"{other}: has 0 records, the manifest says 11" in found
    assert f"{other}: its index does not fit: it is that of a shard of {size:,} bytes" in found


def test_a_truncation_between_records_without_a_manifest_is_told_by_the_index_and_tfds(directory):
    (directory / "manifest.json").unlink()
    assert findings(directory) == []
    path = directory / SHARD
    path.write_bytes(path.read_bytes()[: int(scan(path)[4])])
    found = findings(directory)
    assert f"{SHARD}: has 4 records, dataset_info.json says 10" in found
    assert any("its index does not fit" in each for each in found)


def test_indexes_that_do_not_fit(directory):
    path = directory / SHARD
    good = Index.read(index_path(path))
    wrong = good.offsets.copy()
    wrong[3] += 1
    Index(wrong, good.shard_bytes, good.labels).write(index_path(path))
    at = int(good.offsets[3])
    assert findings(directory) == [
        f"{SHARD}: its index does not fit: it says that record 3 begins at byte {at + 1}, "
        f"it begins at {at}"
    ]
    Index(good.offsets[[*range(5), -1]], good.shard_bytes).write(index_path(path))
    assert findings(directory) == [
        f"{SHARD}: its index does not fit: it has 5 records, the shard 10"
    ]
    labels = good.labels.copy()
    labels[4] += 1
    Index(good.offsets, good.shard_bytes, labels).write(index_path(path))
    assert findings(directory) == [
        f"{SHARD}: the index says that record 4 has the label {labels[4]}, it has {good.labels[4]}"
    ]
    index_path(path).write_bytes(b"hello")
    assert "its index cannot be used" in findings(directory)[0]
    index_path(path).unlink()
    assert findings(directory) == [f"{SHARD}: has no index: index/{SHARD}.idx is missing"]


def test_shards_and_indexes_that_do_not_belong(directory):
    extra = "toy-train.tfrecord-00002-of-00003"
    shutil.copy(directory / SHARD, directory / extra)
    shutil.copy(index_path(directory / SHARD), index_path(directory / extra))
    assert findings(directory) == [
        f"index/{extra}.idx: is an index of a shard that is not there",
        f"{extra}: is a shard that the manifest does not know",
    ]


def test_a_shard_of_another_conversion(directory):
    first, second = (directory / SHARD.replace("00001-of", f"0000{i}-of") for i in (0, 1))
    records = [encode(row(i), SCHEMA) for i in (3, 1, 5, 7, 9, 11, 13, 15, 17, 19)]
    written = write_records(second, records)
    assert written.bytes_written == Index.read(index_path(second)).shard_bytes
    found = findings(directory)
    assert any(
        "its checksum is not the manifest's, though every record is whole" in f for f in found
    )
    write_records(first, [], "GZIP")
    assert any("is GZIP, the manifest says not compressed" in f for f in findings(directory))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": b"\xff\xfe"}, r"record 2: text: no UTF-8 (byte 0)"),
        ({"image": b"\x89PNG cut"}, "record 2: image: no image that can be read (cannot identify"),
        ({"image": png(2, 40)[:-30]}, "record 2: image: no image that can be read ("),
        ({"image": png(2, 40)[:-12]}, "record 2: image: no image that can be read ("),
        ({"image": png(3, 4)}, "record 2: image: the height is 3, the schema says 2"),
        ({"label": 3}, "record 2: label: the label 3 is not in [0, 3)"),
        ({"x": None}, "record 2 cannot be decoded: The record lacks the feature 'x'"),
        ({"x": np.zeros(2, np.float32)}, "record 2 cannot be decoded: x: 2 values are stored"),
    ],
)
def test_features_that_cannot_be_decoded(tmp_path, change, message):
    write_directory(tmp_path, {"train": 8})
    loose = SCHEMA | {"label": Feature("label"), "x": Feature("tensor", "float32", (None,))}
    rows = [row(i) for i in range(1, 8, 2)]
    rows[2] = {k: v for k, v in (rows[2] | change).items() if v is not None}
    records = [encode(each, {name: loose[name] for name in each}) for each in rows]
    write_records(tmp_path / SHARD, records)
    index_path(tmp_path / SHARD).unlink()
    found = findings(tmp_path, full=True)
    assert any(f.startswith(f"{SHARD}: {message}") for f in found), found


def test_a_manifest_that_is_damaged_or_does_not_fit_itself(directory):
    path = directory / "manifest.json"
    values = json.loads(path.read_text())
    values["label_histogram"]["train"]["label"] = {"0": 7, "1": 7, "2": 8}
    path.write_text(json.dumps(values))
    assert findings(directory) == [
        "manifest.json: counts 22 labels 'label' in train, which has 21 records"
    ]
    values["label_histogram"]["train"]["label"] = {"0": 6, "1": 7, "2": 8}
    path.write_text(json.dumps(values))
    assert findings(directory) == []
    assert findings(directory, full=True) == [
        "manifest.json: train has 7 records with the label 0, the manifest says 6; 2 labels differ"
    ]
    path.write_text(path.read_text()[:-5])
    assert findings(directory)[0].startswith("manifest.json: damaged")
    path.write_text('{"format_version": 3}')
    with pytest.raises(DataError, match="format version 3"):
        plan_verify(directory)


def test_side_files_of_tfds(directory):
    (directory / "label.labels.txt").write_text("cat\ndog\n")
    info = json.loads((directory / "dataset_info.json").read_text())
    info["description"] = "Animals."
    (directory / "dataset_info.json").write_text(json.dumps(info))
    (directory / "features.json").unlink()
    assert sorted(findings(directory)) == [
        "features.json: is missing, so TFDS cannot read the data set",
        "label.labels.txt: does not fit the manifest; convert again",
    ]
    info["splits"][0]["shardLengths"] = ["1", "2"]
    (directory / "dataset_info.json").write_text(json.dumps(info))
    assert "dataset_info.json: does not fit the manifest; convert again" in findings(directory)


def test_directories_without_side_files(tmp_path):
    for number in range(3):
        write_records(tmp_path / f"train-{number:05d}-of-00003", [encode(row(1), SCHEMA)] * 4)
    report = verify(plan_verify(tmp_path))
    assert report.findings == ()
    assert report.decoded == 12
    assert "guessed" in report.notes[0]
    (tmp_path / "train-00001-of-00003").unlink()
    found = findings(tmp_path)
    assert found == ["the split 'train' lacks 1 of 3 shards, the first is number 00001"]
    write_records(tmp_path / "raw.tfrecord", [b"no example"])
    report = verify(plan_verify(tmp_path, split="raw"))
    assert report.findings == ()
    assert "is not checked" in report.notes[0]


def test_remote_directories(directory):
    flip(directory / SHARD, 100)
    url = f"memory://{uuid.uuid4()}"
    for file in directory.rglob("*"):
        if file.is_file():
            storage_for(url).write_bytes(file.relative_to(directory).as_posix(), file.read_bytes())
    local, remote = verify(plan_verify(directory)), verify(plan_verify(url))
    assert remote == local
    assert len(remote.findings) == 1
