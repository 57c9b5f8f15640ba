"""The converter's benchmark: its sides write the same records, and a peer that is missing is said to be."""

from __future__ import annotations

from collections import Counter

import convert
import convert_sides
import pytest
from convert_inputs import Records, write_images
from convert_sides import Peer

from tfdml.data.format.example import decode
from tfdml.data.format.record_file import read_records

DATA = Records(300, 1000)


def records_below(directory) -> Counter:
    files = [path for path in directory.rglob("*tfrecord*") if path.suffix != ".idx"]
    return Counter(record for path in files for record in read_records(path))


@pytest.mark.slow
def test_all_sides_write_the_same_records(tmp_path):
    sides = {
        "order": convert_sides.ours(DATA, 1, shuffle=False, num_shards=2),
        "shuffled": convert_sides.ours(DATA, 1, num_shards=2),
        "loop": convert_sides.tfrecord_writer(DATA),
    }
    found = []
    for name, side in sides.items():
        (tmp_path / name).mkdir()
        assert side(tmp_path / name) > 0
        found.append(records_below(tmp_path / name))
    assert found[0].total() == 300
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_both_sides_store_the_same_images(tmp_path):
    write_images(tmp_path / "images", 20, 28)
    stored = {}
    for name, side in (
        (
            "ours",
            convert_sides.ours(convert_sides.image_folder(tmp_path / "images"), 1, num_shards=1),
        ),
        ("theirs", convert_sides.tfds_writer(tmp_path / "images", 28, 1)),
    ):
        (tmp_path / name).mkdir()
        side(tmp_path / name)
        # TFDS writes the features of a record in another order every time.
        stored[name] = sorted(
            (values["image"], values["label"])
            for values in map(decode, records_below(tmp_path / name))
        )
    assert stored["ours"] == stored["theirs"]
    assert len(stored["ours"]) == 20


@pytest.mark.slow
def test_a_missing_peer_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr(convert, "PEERS", {"no_such": "nobody's writer"})
    rows = {(row.name, row.baseline): row for row in convert.records(300, 1)}
    missing = [row for (_, baseline), row in rows.items() if baseline.startswith("nobody's writer")]
    assert [row.value for row in missing] == [None]
    assert rows["10 KB records: in their order", convert.TF_WRITER].floor == 2.0


def test_a_peer_that_is_there_writes(tmp_path):
    peer = Peer("array_record", 1000)
    try:
        assert peer.missing == ""
        assert peer.side(100)(tmp_path) > 0
        assert (tmp_path / "out" / "x.array_record").stat().st_size > 100_000
    finally:
        peer.close()
