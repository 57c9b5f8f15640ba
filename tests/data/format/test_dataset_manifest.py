"""The manifest: comes back as it was written, and says what is wrong with one that cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest, Shard
from tfdml.data.format.features import Feature
from tfdml.data.format.summary import Summary
from tfdml.errors import DataError


def manifest(**changes) -> DatasetManifest:
    values = {
        "name": "toy",
        "schema": {
            "image": Feature("image", shape=(None, None, 3), encoding="png"),
            "label": Feature("label", class_names=("cat", "dög")),
        },
        "splits": {
            "train": (Shard("toy-train.tfrecord-00000-of-00001", 3, 100, 0xABCDEF),),
            "test": (),
        },
        "label_histogram": {"train": {"label": {0: 2, 1: 1}}},
        "statistics": {"train": {"image": {"bytes": Summary.of([10.0, 20.0, 40.0])}}},
        "flags": {"num_shards": "1"},
        "input_digest": "00ff",
        "skipped": 1,
        "skipped_list": "skipped.jsonl",
        "licence": "CC0",
    }
    return DatasetManifest(**{**values, **changes})


def test_round_trip(tmp_path):
    manifest().write(tmp_path)
    back = DatasetManifest.read(tmp_path)
    assert back.to_bytes() == manifest().to_bytes()
    assert back.schema == manifest().schema
    assert back.splits == manifest().splits
    assert back.label_histogram == {"train": {"label": {0: 2, 1: 1}}}
    assert back.statistics["train"]["image"]["bytes"].std == pytest.approx(np.std([10, 20, 40]))
    assert back.num_records("train") == 3
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_unknown_split():
    with pytest.raises(DataError, match="no split 'val'; it has train, test"):
        manifest().num_records("val")
    with pytest.raises(DataError, match="no splits"):
        manifest(splits={})


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="no such directory"):
        DatasetManifest.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no manifest\.json, so no finished conversion"):
        DatasetManifest.read(tmp_path)
    values = json.loads(manifest().to_bytes())
    for change, message in [
        (
            {"format_version": 3},
            "format version 3, this tfdml .* reads 2. Use the tfdml that wrote",
        ),
        ({"format_version": 1}, "format version 1, .* reads 2. Convert again"),
        ({"splits": {"train": [{"file": "x"}]}}, r"manifest\.json: damaged \(KeyError\('records'"),
        ({"schema": {"x": {"kind": "audio"}}}, r"manifest\.json: damaged .*audio"),
        ({"compression": "LZ4"}, r"manifest\.json: damaged .*LZ4"),
    ]:
        (tmp_path / FILE_NAME).write_text(json.dumps(values | change))
        with pytest.raises(DataError, match=message):
            DatasetManifest.read(tmp_path)
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: damaged"):
        DatasetManifest.read(tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "int8", "bool"])
def test_summaries_merge_to_that_of_all(dtype):
    random = np.random.default_rng(0)
    numbers = (random.normal(size=1000) * 50 + 20).astype(dtype)
    merged = Summary()
    for part in np.split(numbers, [0, 1, 10, 500]):
        merged = merged.merge(Summary.of(part))
    for summary in (merged, Summary.of(numbers), Summary.from_json(merged.to_json())):
        assert summary.count == 1000
        assert (summary.minimum, summary.maximum) == (numbers.min(), numbers.max())
        assert summary.mean == pytest.approx(numbers.mean(dtype="f8"), abs=1e-9)
        assert summary.std == pytest.approx(numbers.astype("f8").std())


def test_summaries_leave_out_what_is_not_finite():
    summary = Summary.of([1.0, np.nan, 3.0, np.inf]).merge(Summary.of([np.nan]))
    assert (summary.count, summary.not_finite, summary.mean) == (2, 3, 2.0)
    assert Summary.of([]).merge(Summary()).to_json() == {"count": 0}
    assert Summary.from_json({"count": 0, "not_finite": 4}).not_finite == 4
