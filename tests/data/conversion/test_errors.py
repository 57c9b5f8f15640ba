"""Conversions that cannot be, or cannot go on: each is one sentence, and leaves what can be used or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.data.conversion.directories import contents, rows
from tests.data.conversion.fakes import CountedRows, Rows
from tests.data.conversion.test_run import request
from tfdml.data.conversion.pool import Pool
from tfdml.data.conversion.run import allowed_processes, convert
from tfdml.data.conversion.splits import Splits
from tfdml.data.conversion.state import open_state
from tfdml.errors import ConfigError, DataError

BAD = Rows(200, bad=(17, 150))


def test_a_bad_row_is_the_end_and_is_named(tmp_path):
    with pytest.raises(DataError, match=r"^rows.txt, row 17: it is no row. --on_error=skip leaves"):
        convert(request(tmp_path / "a", BAD), num_processes=1)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_bad_rows_are_left_out_and_listed(tmp_path, processes):
    result = convert(request(tmp_path / "a", BAD, on_error="skip"), num_processes=processes)
    assert (result.manifest.skipped, result.manifest.skipped_list) == (2, "errors.jsonl")
    lines = (tmp_path / "a" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"location": f"rows.txt, row {i}", "reason": "it is no row"} for i in (17, 150)
    ]
    numbers = {row["number"] for split in ("train", "test") for row in rows(tmp_path / "a", split)}
    assert numbers == set(range(200)) - {17, 150}


def test_bad_rows_are_put_aside(tmp_path):
    convert(request(tmp_path / "a", BAD, on_error="quarantine"), num_processes=1)
    listed = [json.loads(line) for line in (tmp_path / "a" / "errors.jsonl").open()]
    kept = [(tmp_path / "a" / each["content"]).read_bytes() for each in listed]
    assert kept == [b"raw 17", b"raw 150"]


def test_too_many_bad_rows(tmp_path):
    with pytest.raises(
        DataError,
        match=r"2 of 200 rows cannot be used, more than .*=0.005 allows; the first is .*row 17: it",
    ):
        convert(request(tmp_path / "a", BAD, on_error="skip", max_error_fraction=0.005))
    result = convert(request(tmp_path / "a", BAD, on_error="skip", max_error_fraction=0.01))
    assert (result.kept_fragments, result.manifest.skipped) == (2, 2)


def test_after_a_bad_row_the_next_run_may_skip_it(tmp_path):
    bad = Rows(200, bad=(150,))
    with pytest.raises(DataError):
        convert(request(tmp_path / "a", bad), num_processes=1)
    result = convert(request(tmp_path / "a", bad, on_error="skip"), num_processes=1)
    assert result.kept_fragments == 1
    convert(request(tmp_path / "b", bad, on_error="skip"), num_processes=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_skipping_ends_shards_elsewhere_than_they_were_written_before(tmp_path):
    """Straight from the input, three shards were there when the bad row was met."""
    settings = {"splits": None, "shuffle": False, "num_shards": 4}
    bad = CountedRows(200, bad=(199,))
    with pytest.raises(DataError):
        convert(request(tmp_path / "a", bad, **settings), num_processes=1)
    assert len(list((tmp_path / "a").glob("rows-train*"))) == 3
    result = convert(request(tmp_path / "a", bad, on_error="skip", **settings), num_processes=1)
    convert(request(tmp_path / "b", bad, on_error="skip", **settings), num_processes=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert result.kept_shards == 0
    assert [shard.records for shard in result.manifest.splits["train"]] == [49, 50, 50, 50]


def test_a_value_that_does_not_fit_the_schema_is_a_bad_row(tmp_path):
    with pytest.raises(DataError, match=r"rows.txt, row 7: number: "):
        convert(request(tmp_path / "a", Unfit(20)), num_processes=1)


class Unfit(Rows):
    def values(self, i: int) -> dict:
        return super().values(i) | ({"number": "seven"} if i == 7 else {})


def test_more_shards_than_records(tmp_path):
    with pytest.raises(
        DataError, match=r"`num_shards` is 300, but the test split has 2.. records. Ask for fewer"
    ):
        convert(request(tmp_path / "a", num_shards=300), num_processes=1)
    assert not (tmp_path / "a").exists()


def test_a_split_without_records(tmp_path):
    splits = Splits({"train": 0.999, "test": 0.001}, stratify="label")
    with pytest.raises(
        DataError, match="The split 'test' would have no records: 10 rows were read"
    ):
        convert(request(tmp_path / "a", Rows(10), splits=splits), num_processes=1)


def test_no_rows(tmp_path):
    with pytest.raises(DataError, match=r"rows.txt: no rows, so there is nothing to convert"):
        convert(request(tmp_path / "a", Rows(0)))


def test_output_that_holds_another_data_set(tmp_path):
    convert(request(tmp_path / "a", Rows(50)), num_processes=1)
    before = contents(tmp_path / "a")
    with pytest.raises(
        DataError, match=r"holds a data set already \(.*\). Choose another directory"
    ):
        convert(request(tmp_path / "a", Rows(60)), num_processes=1)
    assert contents(tmp_path / "a") == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other-train.tfrecord-00000-of-00001").touch()
    with pytest.raises(DataError, match=r"holds a data set already \(other-train"):
        convert(request(tmp_path / "b", Rows(60)), num_processes=1)


def test_the_same_again_is_nothing_to_do(tmp_path):
    first = convert(request(tmp_path / "a", Rows(50)), num_processes=1)
    before = contents(tmp_path / "a")
    again = convert(request(tmp_path / "a", Rows(50)), num_processes=1)
    assert again.already_finished
    assert again.manifest.splits == first.manifest.splits
    assert contents(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("input", "settings", "difference"),
    [
        (BAD, {"seed": 7}, "--seed was 0 and is 7"),
        (BAD, {"num_shards": None}, "--num_shards was 3 and is not given"),
        (Rows(200, bad=(150,), version="2"), {}, "input files have changed since"),
        (
            Rows(300, bad=(150,)),
            {},
            "the input was 1 files of 13200 bytes and is 1 files of 19800 bytes",
        ),
    ],
)
def test_an_unfinished_conversion_is_not_mixed_with_another(tmp_path, input, settings, difference):
    with pytest.raises(DataError):
        convert(request(tmp_path / "a", Rows(200, bad=(150,))), num_processes=1)
    with pytest.raises(DataError) as raised:
        convert(request(tmp_path / "a", input, **settings), num_processes=1)
    assert difference in str(raised.value)
    assert f"remove {tmp_path}/a/.conversion and begin again" in str(raised.value)


def test_one_conversion_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.conversion.state._WAIT_FOR_LOCK_SECONDS", 0.1)
    with (
        open_state(request(tmp_path / "a")),
        pytest.raises(DataError, match="Another process is converting"),
    ):
        convert(request(tmp_path / "a"), num_processes=1)


def test_a_restart_of_the_machine_makes_spill_files_again(tmp_path, monkeypatch):
    bad = Rows(200, bad=(150,))
    with pytest.raises(DataError):
        convert(request(tmp_path / "a", bad), num_processes=1)
    boot = tmp_path / "boot"
    boot.write_text("another")
    monkeypatch.setattr("tfdml.data.conversion.identity._BOOT_ID", boot)
    result = convert(request(tmp_path / "a", bad, on_error="skip"), num_processes=1)
    assert result.kept_fragments == 0


def test_damaged_spill_files_are_made_again(tmp_path):
    bad = Rows(200, bad=(150,))
    with pytest.raises(DataError):
        convert(request(tmp_path / "a", bad), num_processes=1)
    spill = tmp_path / "a" / ".conversion" / "map" / "00000.spill"
    os.truncate(spill, spill.stat().st_size - 1)
    result = convert(request(tmp_path / "a", bad, on_error="skip"), num_processes=1)
    assert result.kept_fragments == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_shards": 0}, "`num_shards` must be at least 1, got 0"),
        ({"num_shards": 100_000}, "at most 99999"),
        ({"num_shards": 2, "shard_bytes": 5}, "both given"),
        ({"memory_bytes": 1000}, "`memory_bytes` must be at least 16777216, got 1000"),
        ({"on_error": "ignore"}, "fail, skip, quarantine, got 'ignore'"),
        ({"max_error_fraction": 2.0}, r"in \[0, 1\], got 2.0"),
        ({"seed": -1}, "got -1"),
        ({"compression": "zip"}, "got 'zip'"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, message):
    with pytest.raises((ConfigError, DataError), match=message):
        request(tmp_path, **({"num_shards": None} | settings))


def test_an_unknown_label_to_stratify_by(tmp_path):
    splits = Splits({"train": 0.5, "test": 0.5}, stratify="colour")
    with pytest.raises(ConfigError, match=r"--stratify=colour: .* the labels are label"):
        convert(request(tmp_path / "a", splits=splits), num_processes=1)


def test_memory_decides_how_many_processes_there_are(tmp_path):
    fragments = Rows().fragments()
    for memory_bytes, processes in ((16 << 20, 1), (1 << 30, 7), (8 << 30, 8)):
        assert (
            allowed_processes(request(tmp_path, memory_bytes=memory_bytes), fragments, 8)
            == processes
        )


def test_bugs_keep_their_traceback():
    with Pool(2) as pool, pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero"):
        list(pool.run(divide, 1, [1, 0, 2]))


def divide(job: int, task: int, report) -> float:
    return job / task


def test_workers_do_not_import_tensorflow(tmp_path):
    with Pool(2) as pool:
        assert list(dict(pool.run(tensorflow_is_there, None, [1, 2])).values()) == [False, False]
    script = (
        "import sys, tfdml.data.conversion.run, tfdml.data.conversion.told, tfdml.data.inputs.input, "
        "tfdml.data.stages.from_flags; sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def tensorflow_is_there(job: None, task: int, report) -> bool:
    import tfdml.data.conversion.direct
    import tfdml.data.conversion.gather
    import tfdml.data.conversion.mapping
    import tfdml.data.conversion.passes  # noqa: F401

    return "tensorflow" in sys.modules


def test_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"file/a/.conversion/map cannot be written \(not a directory\)"
    ):
        convert(request(tmp_path / "file" / "a"), num_processes=1)


@dataclass(frozen=True)
class Worded:
    """A stage that does nothing with the words of a file."""

    words: bytes
    features: tuple[str, ...] = ()
    fitted: bool = True
    keeps_rows: bool = True

    def schema(self, schema):
        return schema

    def apply(self, rows, counts):
        counts["rows seen"] += 0
        for row in rows:
            counts["rows seen"] += 1
            yield row

    def describe(self):
        return {"stage": "worded"}

    def side_files(self):
        return {"words.txt": self.words}


def test_stages_count_and_leave_files(tmp_path):
    result = convert(request(tmp_path / "a", stages=(Worded(b"one"),)), num_processes=2)
    assert result.counts == {"rows seen": 1000}
    assert (tmp_path / "a" / "words.txt").read_bytes() == b"one"
    assert result.manifest.flags["stages"] == '[{"stage": "worded"}]'


def test_a_file_that_a_flag_names_has_changed(tmp_path):
    bad = Rows(200, bad=(150,))
    with pytest.raises(DataError):
        convert(request(tmp_path / "a", bad, stages=(Worded(b"one"),)), num_processes=1)
    with pytest.raises(
        DataError, match="the features have changed since, or a file that a flag names"
    ):
        convert(request(tmp_path / "a", bad, stages=(Worded(b"two"),)), num_processes=1)


def test_nothing_finished_is_in_nobodys_way(tmp_path):
    (tmp_path / "a" / ".conversion").mkdir(parents=True)
    (tmp_path / "a" / ".conversion" / "conversion.json").write_text('{"settings": {"seed": "9"}}')
    assert not convert(request(tmp_path / "a"), num_processes=1).kept_fragments
