"""Where data come from, and a digest that tells other data."""

from __future__ import annotations

import dataclasses
import json

from tfdml.data.format.dataset_manifest import DatasetManifest, Shard
from tfdml.data.format.features import Feature, make_schema
from tfdml.data.origin import Origin

MANIFEST = DatasetManifest(
    name="digits",
    schema=make_schema([("label", Feature("label", "int64"))]),
    splits={"train": (Shard("a", 3, 30, 1), Shard("b", 4, 40, 2)), "test": (Shard("c", 2, 20, 3),)},
    licence="CC0",
)


def test_of_a_manifest():
    origin = Origin.of_manifest(MANIFEST, "there", licence="not used", source="a book")
    assert origin.splits == {"train": 7, "test": 2}
    assert (origin.licence, origin.source, origin.digest_of) == ("CC0", "a book", "manifest")
    # One bit of one shard is other data.
    changed = dataclasses.replace(MANIFEST, splits={"train": (Shard("a", 3, 30, 9),)})
    assert Origin.of_manifest(changed, "there").digest != origin.digest
    assert Origin.of_manifest(MANIFEST, "elsewhere").digest == origin.digest
    assert json.loads(json.dumps(origin.to_json()))["name"] == "digits"


def test_of_files_by_their_contents(tmp_path):
    for directory, text in (("a", "one"), ("b", "one"), ("c", "eno")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "x.txt").write_text(text)
        (tmp_path / directory / "y.txt").write_text("two")
    digests = [
        Origin.of_files("toy", (tmp_path / each).iterdir(), location=each).digest for each in "abc"
    ]
    assert digests[0] == digests[1] != digests[2]
    renamed = (tmp_path / "b" / "x.txt").rename(tmp_path / "b" / "z.txt")
    files = [renamed, tmp_path / "b" / "y.txt"]
    assert Origin.of_files("toy", files, location="b").digest != digests[0]


def test_of_large_files_by_names_and_sizes(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as out:
        out.truncate(65 * 2**20)
    first = Origin.of_files("toy", [file], location="x", splits={"train": 5}, licence="CC0")
    assert (first.digest_of, first.licence, first.splits) == (
        "names and sizes",
        "CC0",
        {"train": 5},
    )
    with file.open("r+b") as out:
        out.truncate(66 * 2**20)
    assert Origin.of_files("toy", [file], location="x").digest != first.digest
