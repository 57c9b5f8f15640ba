"""The converter's and the resharder's command lines, in processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.conversion.directories import contents, rows
from tfdml.cli.data_tool import run_bundled
from tfdml.data.format.dataset_manifest import DatasetManifest

REPOSITORY = Path(__file__).parents[2]
CSV = ("--format=csv", "--input=TABLE", "--output_dir=x")


def run(tool: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"data_tools.{tool}", *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV file of 100 rows: number, name, and a class that is `odd` or `even`."""
    file = tmp_path_factory.mktemp("a place") / "table.csv"
    lines = [f"{i},name {i},{'odd' if i % 2 else 'even'}" for i in range(100)]
    file.write_text("number,name,class\n" + "\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def converted(table):
    directory = table.parent / "shards"
    done = run(
        "convert", "--format=csv", f"--input={table}", "--label=class", f"--output-dir={directory}",
        "--num-shards=2", "--license=CC0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return directory, done.stdout


def test_one_label_is_split_class_by_class(converted):
    directory, output = converted
    assert "train: 80 records in 2 shards of 40 records, " in output
    assert "test: 20 records in 2 shards of 10 records, " in output
    assert "class: 2 classes: even, odd\n" in output
    assert sorted(row["class"] for row in rows(directory, "test")) == [0] * 10 + [1] * 10
    manifest = DatasetManifest.read(directory)
    assert manifest.licence == "CC0"
    assert manifest.flags["label"] == "class"
    assert "num_processes" not in manifest.flags


def test_again_is_nothing_to_do_and_another_one_is_refused(table, converted):
    directory, _ = converted
    before = contents(directory)
    words = [
        "--format=csv",
        f"--input={table}",
        "--label=class",
        f"--output_dir={directory}",
        "--license=CC0",
    ]
    done = run("convert", *words, "--num_shards=2")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        "The same conversion was finished before; nothing was done.",
    )
    done = run("convert", *words, "--num_shards=3")
    assert done.returncode == 2
    assert "holds a data set already" in done.stderr
    assert contents(directory) == before


def test_dry_run_writes_nothing(table, tmp_path):
    done = run(
        "convert", "--format=csv", f"--input={table}", "--label=class", f"--output_dir={tmp_path}/new", "--dry_run"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "input: 1 files, 1.5 kB, in 1 parts\n" in done.stdout
    assert "features: number (tensor int64); name (text); class (label 2 classes)\n" in done.stdout
    assert "train: about 80 records in 4 shards of about " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_reshard_passes_every_record_on(converted, tmp_path):
    directory, _ = converted
    done = run("reshard", directory, f"--output_dir={tmp_path}/one", "--num_shards=1", "--seed=3")
    assert done.returncode == 0, done.stderr
    before, after = DatasetManifest.read(directory), DatasetManifest.read(tmp_path / "one")
    assert after.schema == before.schema
    assert after.label_histogram == before.label_histogram
    assert after.statistics == before.statistics
    assert after.licence == "CC0"
    assert (after.name, list(after.splits)) == ("shards", list(before.splits))
    for split in before.splits:
        assert len(after.splits[split]) == 1
        old, new = rows(directory, split), rows(tmp_path / "one", split)
        assert sorted(old, key=str) == sorted(new, key=str)
        assert old != new


def test_reshard_without_shuffle_keeps_the_order(converted, tmp_path):
    directory, _ = converted
    words = [f"--output_dir={tmp_path}/gzip", "--num_shards=3", "--noshuffle", "--compression=gzip"]
    done = run("reshard", directory, *words)
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "gzip", "train") == rows(directory, "train")


def test_bad_rows_can_be_left_out_or_kept_apart(tmp_path):
    file = tmp_path / "bad.csv"
    file.write_text("a,b\n" + "1,2\n" * 50 + "1,2,3\n" + "1,2\n" * 49)
    words = ["--format=csv", f"--input={file}", f"--output_dir={tmp_path}/out", "--num_shards=1"]
    done = run("convert", *words)
    assert done.returncode == 2
    assert f"{file}, row 52" in done.stderr
    assert "--on_error=skip" in done.stderr
    done = run("convert", *words, "--on_error=quarantine", "--max_error_fraction=0.001")
    assert done.returncode == 2
    assert (
        "1 of 100 rows cannot be used, more than --max_error_fraction=0.001 allows" in done.stderr
    )
    done = run("convert", *words, "--on_error=quarantine")
    assert done.returncode == 0, done.stderr
    assert "left out: 1 rows, listed in errors.jsonl\n" in done.stdout
    listed = json.loads((tmp_path / "out" / "errors.jsonl").read_text())
    assert listed["location"].endswith("row 52")
    assert (tmp_path / "out" / listed["content"]).read_bytes().strip() == b"1,2,3"


def test_a_temporary_directory_that_cannot_be_is_one_sentence(table, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = [
        f"--input={table}",
        f"--output_dir={tmp_path / 'out'}",
        f"--temp_dir={tmp_path / 'file'}",
    ]
    assert run_bundled("convert", ["--format=csv", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "file/conversion-" in error and "Choose another directory" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"format_version": 9}', "format version 9, this tfdml"), ("{", "damaged")],
)
@pytest.mark.parametrize("tool", ["convert", "reshard"])
def test_a_manifest_that_cannot_be_read_is_not_passed_over(
    converted, tmp_path, tool, text, message
):
    shards = tmp_path / "shards"
    shutil.copytree(converted[0], shards)
    (shards / "manifest.json").write_text(text)
    words = [f"--input={shards}", f"--output_dir={tmp_path / 'out'}"]
    result = run(tool, *(["--format=tfrecord"] if tool == "convert" else []), *words)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_help_teaches(capsys):
    assert run_bundled("convert", ["--help"]) == 0
    for output in (capsys.readouterr().out, run("reshard", "--help").stdout):
        assert "    tfdml " in output
        assert "--num_shards=" in output
        assert "--on_error=fail|skip|quarantine" in output


def test_reshard_needs_an_input():
    done = run("reshard", "--output_dir=x")
    assert (done.returncode, done.stderr) == (2, "error: --input is missing. See --help.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format=digits"], "--output_dir is missing"),
        (["--format=image_folder", "--output_dir=x"], "--format=image_folder needs --input"),
        (["--frmat=digits"], "Unknown command line flag 'frmat'. Did you mean: format"),
        (["--format=images", "--output_dir=x"], "<image_folder|csv|"),
        (["--format=csv", "--output_dir=x", "--input=a", "b"], "'b' is no flag"),
        (["--format=csv", "--output_dir=x", "--input=nowhere/*"], "nowhere/*"),
        ([*CSV, "--split=a:0.5"], "add up to 0.5"),
        ([*CSV, "--shard_bytes=big"], "268435456, 256MiB or 1GB"),
        ([*CSV, "--num_shards=1", "--shard_bytes=1GB"], "both given"),
    ],
)  # fmt: skip
def test_wrong_flags(words, message, table, capsys):
    assert run_bundled("convert", [word.replace("TABLE", str(table)) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
