"""Inputs behind URLs: the same rows as from local files, with patterns, directories and single files."""

from __future__ import annotations

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.inputs.reading import opened, read
from tests.data.inputs.test_image_folder import encoded
from tfdml.data.inputs.files import _as_regex
from tfdml.errors import DataError

ROOT = "memory://inputs"


@pytest.fixture
def everywhere(tmp_path):
    """The same files in a local directory and in fsspec's memory."""
    files = {
        "images/cat/1.png": encoded(),
        "images/dog/2.png": encoded(),
        "images/dog/deep/3.jpg": encoded(format="JPEG"),
        "tables/a.csv": b'x,y\n1,"a\nb"\n2,c\n',
        "tables/b.csv": b"x,y\n3,d\n",
        "tables/c.jsonl": b'{"x": 1}\n{"x": 2}\n',
        "texts/1.txt": b"one\ntwo\n",
    }
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    (tmp_path / "tables").mkdir()
    pq.write_table(
        pa.table({"n": list(range(50))}), tmp_path / "tables/d.parquet", row_group_size=7
    )
    files["tables/d.parquet"] = (tmp_path / "tables/d.parquet").read_bytes()
    for name, content in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        memory.pipe_file(f"/inputs/{name}", content)
    yield tmp_path
    memory.store.clear()


@pytest.mark.parametrize(
    "format, pattern, options",
    [
        ("image_folder", "images", {}),
        ("image_folder", "images/*/*.png", {}),
        ("image_folder", "images/**/*.*g", {}),
        ("csv", "tables/*.csv", {}),
        ("csv", "tables/a.csv", {"key": "x"}),
        ("csv", "tables", {}),
        ("jsonl", "tables/?.jsonl", {}),
        ("parquet", "tables/[a-e].parquet", {}),
        ("text", "texts", {}),
        ("text", "texts/1.txt", {"documents": "line"}),
    ],
)
def test_the_same_rows_as_from_local_files(everywhere, format, pattern, options):
    local, _ = read(opened(format, f"{everywhere}/{pattern}", **options))
    source = opened(format, f"{ROOT}/{pattern}", **options)
    remote, bad = read(source)
    assert bad == []
    assert [(row.key, row.values) for row in remote] == [(row.key, row.values) for row in local]
    assert all(file.size > 0 and file.version for file in source.files)
    assert remote[0].location.startswith(ROOT)


def test_many_fragments_of_a_remote_file(everywhere, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.cuts._SMALLEST_FRAGMENT_BYTES", 5)
    monkeypatch.setattr("tfdml.data.inputs.csv_records._BLOCK_BYTES", 3)
    source = opened("csv", f"{ROOT}/tables/a.csv")
    assert len(source.fragments()) == 2
    assert [row.values["x"] for row in read(source)[0]] == [1, 2]


def test_nothing_there(everywhere):
    with pytest.raises(DataError, match=r"no file matches; a pattern looks like 'data/\*.csv'"):
        opened("csv", f"{ROOT}/tables/*.tsv")
    with pytest.raises(DataError, match="no file matches"):
        opened("csv", f"{ROOT}/nowhere")


@pytest.mark.parametrize(
    "pattern, yes, no",
    [
        ("*.csv", "a.csv", "b/a.csv"),
        ("**/*.csv", "b/c/a.csv", "a.csvs"),
        ("**/*.csv", "a.csv", "acsv"),
        ("a?[b-d][!x].csv", "aacy.csv", "aacx.csv"),
        ("a+(1).csv", "a+(1).csv", "aa1.csv"),
    ],
)
def test_patterns(pattern, yes, no):
    import re

    assert re.fullmatch(_as_regex(pattern), yes)
    assert not re.fullmatch(_as_regex(pattern), no)
