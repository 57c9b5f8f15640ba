"""One task saves and restores: what comes back, what is kept, and what a save costs nobody else."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from tests.checkpoint.jobs import at, contents, restore, same_as_saved, save_steps, steps_in
from tfdml.checkpoint import Contents, Snapshots
from tfdml.errors import ConfigError, DataError

DTYPES = "float16 float32 float64 int8 uint8 int16 int32 int64 uint64 bool complex64"


def test_what_is_saved_comes_back(tmp_path):
    save_steps(tmp_path, [7])
    restored = restore(tmp_path)
    assert restored.position == at(7) and restored.num_tasks == 1
    assert same_as_saved(restored)
    assert restored.chief.sections() == {"weights", "replicas", "callbacks", "history", "iterator"}
    assert restored.chief.document("missing", "default") == "default"
    assert restored.chief.blob("missing") is None and len(restored.chief.arrays("missing")) == 0


@pytest.mark.parametrize("dtype", [*DTYPES.split(), ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_numbers_keep_every_bit(tmp_path, dtype):
    # All patterns of 16 bits, NaNs with payload among them, seen as each dtype.
    bits = np.arange(2**16, dtype=np.uint16).view(np.uint8)
    array = bits.view(np.bool_) if dtype == "bool" else bits.view(dtype)
    if dtype == "bool":
        array = bits % 2 == 1
    given = {"all": array, "two": array[:24].reshape(2, 3, 4), "none": array[:0], "one": array[5]}
    snapshots = Snapshots(tmp_path)
    snapshots.save(at(1), Contents(arrays={"a": given}))
    found = snapshots.restore().chief.arrays("a")
    for name, value in given.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes()


def test_strings_and_transposed_arrays_come_back(tmp_path):
    texts = np.array([[b"", b"a\0b"], ["\u00e4".encode(), b"x" * 5000]], object)
    transposed = np.arange(12.0).reshape(3, 4).T
    snapshots = Snapshots(tmp_path)
    given = {"texts": texts, "t": transposed, "empty": texts[:0], "big": transposed.astype(">f4")}
    snapshots.save(at(1), Contents(arrays={"a": given}))
    found = snapshots.restore().chief.arrays("a")
    assert found["texts"].tolist() == texts.tolist() and found["empty"].shape == (0, 2)
    np.testing.assert_array_equal(found["t"], transposed)
    np.testing.assert_array_equal(found["big"], transposed)


def test_an_empty_directory_has_nothing_to_restore(tmp_path):
    assert restore(tmp_path / "new") is None


def test_the_newest_are_kept_and_every_nth(tmp_path):
    save_steps(tmp_path, list(range(1, 9)), keep=2, keep_every=3)
    assert steps_in(tmp_path) == [3, 6, 7, 8]
    save_steps(tmp_path, [9, 10], keep=2, keep_every=3)  # the count goes on after a restart
    assert steps_in(tmp_path) == [3, 6, 9, 10]
    assert restore(tmp_path).position == at(10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "`keep` must be at least 1, got 0"),
        ({"keep_every": -1}, "`keep_every` must be 0 or more, got -1"),
        ({"local_directory": "/x"}, "`local_directory` goes with a URL, got the path"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        Snapshots(tmp_path, **options)


def test_what_changes_after_begin_is_not_saved(tmp_path):
    array = np.full(3_000_000, 1.0)
    snapshots = Snapshots(tmp_path)
    snapshots.begin(at(1), Contents(arrays={"a": {"x": array}}))
    array[:] = 2.0
    while (outcome := snapshots.advance()) is None:
        assert snapshots.pending
    assert outcome.saved and not snapshots.pending and outcome.num_bytes == array.nbytes
    assert np.unique(snapshots.restore().chief.arrays("a")["x"]) == [1.0]


def test_two_saves_never_run_at_once(tmp_path):
    snapshots = Snapshots(tmp_path, keep=9)
    assert snapshots.begin(at(1), contents(1)) is None
    before = snapshots.begin(at(2), contents(2))
    assert before.saved and before.position == at(1)
    assert steps_in(tmp_path) == [1]
    assert snapshots.wait().position == at(2)
    assert snapshots.wait() is None and snapshots.advance() is None
    assert steps_in(tmp_path) == [1, 2]


def test_one_step_may_be_saved_twice_and_the_later_one_counts(tmp_path):
    snapshots = Snapshots(tmp_path)
    for value in (1, 2):
        snapshots.save(at(5), Contents(documents={"value": value}))
    assert restore(tmp_path).chief.document("value") == 2


def test_nothing_temporary_is_left(tmp_path):
    save_steps(tmp_path, [1, 2, 3])
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"manifest.json", "task-00000.bin", "run.json", "latest.json"}


def test_delete_leaves_other_files(tmp_path):
    save_steps(tmp_path, [1, 2])
    (tmp_path / "notes.txt").write_text("mine")
    snapshots = Snapshots(tmp_path)
    snapshots.delete()
    assert not list(tmp_path.glob("snapshot-*")) and (tmp_path / "notes.txt").exists()
    assert snapshots.restore() is None


def test_what_a_crash_left_is_ignored_and_removed_by_the_next_save(tmp_path, caplog):
    save_steps(tmp_path, [1, 2])
    (manifest,) = tmp_path.glob("*00002-*-0002/manifest.json")
    started = tmp_path / "snapshot-000000000003-aaaaaa-0003"
    started.mkdir()
    (started / ".task-00000.bin.xyz.partial").write_bytes(b"half")
    (tmp_path / ".latest.json.abc.partial").write_bytes(b"half")
    assert restore(tmp_path).position == at(2) and caplog.text == ""
    save_steps(tmp_path, [4])
    assert not started.exists() and manifest.exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_a_job_that_ended_during_its_first_save_begins_anew_and_says_so(tmp_path, caplog):
    (tmp_path / "snapshot-000000000003-aaaaaa-0001").mkdir()
    assert restore(tmp_path) is None
    assert "the job ended before its first save did" in caplog.text


def test_another_job_in_the_directory_is_noticed(tmp_path):
    first, second = Snapshots(tmp_path), Snapshots(tmp_path)
    first.start()
    assert first.save(at(1), contents(1)).saved
    second.start()
    outcome = first.save(at(2), contents(2))
    assert not outcome.saved and "another job has begun to save" in outcome.error
    assert steps_in(tmp_path) == [1]


def test_a_document_that_json_cannot_say_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"the section 'history' .* must hold what JSON can say"):
        Snapshots(tmp_path).begin(at(1), Contents(documents={"history": {1, 2}}))


def test_facts_come_back(tmp_path):
    snapshots = Snapshots(tmp_path)
    snapshots.save(at(1), contents(1), {"threads": 2})
    assert snapshots.restore().facts == {"threads": 2}


def test_a_later_format_is_refused_and_not_passed_over(tmp_path):
    from tfdml.checkpoint.manifest import sealed

    save_steps(tmp_path, [1, 2])
    (path,) = tmp_path.glob("*-0002/manifest.json")
    content = json.loads(path.read_bytes())
    del content["crc32c"]
    path.write_bytes(sealed({**content, "format": 3, "tfdml": "9.9"}))
    with pytest.raises(ConfigError, match=r"has format 3, written by tfdml 9\.9.*Update tfdml"):
        restore(tmp_path)


def test_snapshots_of_the_first_format_are_no_empty_directory(tmp_path):
    (tmp_path / f"snapshot-{20:012d}.json").write_text("{}")
    with pytest.raises(DataError, match="snapshots of an older tfdml"):
        restore(tmp_path)


def test_memory_is_used_again_and_can_be_reserved(tmp_path):
    snapshots = Snapshots(tmp_path)
    snapshots.reserve(contents(1))
    snapshots.save(at(1), contents(1))
    memory = snapshots._memory._memory
    snapshots.save(at(2), contents(2))
    assert snapshots._memory._memory is memory
    snapshots.close()
    assert snapshots._memory._memory.nbytes == 0
    assert same_as_saved(restore(tmp_path))
