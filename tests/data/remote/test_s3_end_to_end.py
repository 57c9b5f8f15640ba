"""Convert into S3, verify there, read from there: what the tools do with a URL instead of a directory."""

import json
import subprocess
import sys
import time
import uuid

import pytest

from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.format.example import decode
from tfdml.data.remote.remote_split import open_split
from tfdml.data.remote.shard_cache import ShardCache
from tfdml.storage import storage_for

pytestmark = pytest.mark.slow


def tool(*words):
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def rows(tmp_path):
    rows = [{"text": f"row {i} " * (i % 7), "label": i % 3} for i in range(500)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def convert(tmp_path, output_dir):
    return tool(*command(tmp_path, output_dir)[2:])


def command(tmp_path, output_dir):
    return [
        sys.executable,
        "-m",
        "data_tools.convert",
        "--format=jsonl",
        f"--input={tmp_path}/rows.jsonl",
        f"--output_dir={output_dir}",
        "--name=rows",
        "--num_shards=4",
        "--num_processes=2",
        f"--temp_dir={tmp_path}/state",
    ]


def test_from_rows_to_records(s3, tmp_path, rows):
    url = s3.url(uuid.uuid4().hex)
    for output_dir in (url, tmp_path / "local"):
        done = convert(tmp_path, output_dir)
        assert done.returncode == 0, done.stderr
    remote, local = storage_for(url), storage_for(tmp_path / "local")
    assert remote.names() == local.names()
    for name in local.names():
        if name != "manifest.json":  # it has the flags
            assert remote.read_bytes(name) == local.read_bytes(name), name

    checked = tool("data_tools.verify", url)
    assert checked.returncode == 0 and "500 records" in checked.stdout, checked.stderr

    manifest = DatasetManifest.from_bytes(remote.read_bytes("manifest.json"))
    records = open_split(url, "train", ShardCache(tmp_path / "cache", 10**8))
    with records.staged.cache.use(records.staged.entries):
        found = [decode(r, manifest.schema) for r in records.read_now(range(records.num_records))]
    assert sorted((row["text"].decode(), int(row["label"])) for row in found) == sorted(
        (row["text"], row["label"]) for row in rows
    )

    shard = next(name for name in remote.names() if name.startswith("rows-train"))
    data = bytearray(remote.read_bytes(shard))
    data[len(data) // 2] ^= 1
    remote.write_bytes(shard, bytes(data))
    checked = tool("data_tools.verify", url)
    assert checked.returncode == 1 and shard in checked.stdout, checked.stdout
    remote.remove(shard)
    checked = tool("data_tools.verify", url)
    assert checked.returncode == 1 and shard in checked.stdout, checked.stdout


def test_killed_and_run_again(s3, tmp_path, rows):
    """What is in the bucket already is kept, and the end is as without the kill."""
    url, whole = (s3.url(uuid.uuid4().hex) for _ in range(2))
    (tmp_path / "rows.jsonl").write_text((tmp_path / "rows.jsonl").read_text() * 40)
    assert convert(tmp_path, whole).returncode == 0
    storage = storage_for(url)
    with subprocess.Popen(command(tmp_path, url), stderr=subprocess.PIPE) as child:
        while not storage.names() and child.poll() is None:
            time.sleep(0.01)
        child.kill()
    there = storage.names()
    assert there and "manifest.json" not in there, "killed in the middle"
    done = convert(tmp_path, url)
    assert done.returncode == 0, done.stderr
    assert storage.names() == storage_for(whole).names()
    for name in storage.names():
        if name != "manifest.json":
            assert storage.read_bytes(name) == storage_for(whole).read_bytes(name), name
    puts = s3.requests("PUT", url.removeprefix(s3.url("")) + "/rows-train")
    first = next(name for name in there if name.startswith("rows-train"))
    assert puts[f"{url.rpartition('/')[2]}/{first}"] == 1, "written once"


def test_errors_are_one_sentence(s3, tmp_path, rows):
    for command in (
        lambda: convert(tmp_path, "s3://no-such-bucket/x"),
        lambda: tool("data_tools.verify", "s3://no-such-bucket/x"),
    ):
        done = command()
        assert done.returncode == 2
        assert "no such bucket 'no-such-bucket'" in done.stderr and "Traceback" not in done.stderr
