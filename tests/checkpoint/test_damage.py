"""Every file of a snapshot truncated, changed or gone: the one before is used, or one error says what is wrong."""

from __future__ import annotations

import logging
import random
import shutil

import numpy as np
import pytest

from tests.checkpoint.jobs import at, contents, find, restore, same_as_saved, save_steps, steps_in
from tfdml.checkpoint import Contents, Snapshots
from tfdml.errors import DataError

SIZE = 4
FILES = ["task-00000.bin", "task-00001.bin", "manifest.json"]


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    """Steps 1 and 2, saved by two tasks, with small arrays: some kilobytes."""
    directory = tmp_path_factory.mktemp("two")
    save_steps(directory, [1, 2], num_tasks=2, size=SIZE)
    return directory


@pytest.fixture
def saved(two_saved, tmp_path):
    directory = tmp_path / "job"
    shutil.copytree(two_saved, directory)
    return directory


def file_of(directory, step, name):
    (path,) = directory.glob(f"snapshot-{step:012d}-*/{name}")
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_file_truncated_anywhere(saved, name, caplog):
    path = file_of(saved, 2, name)
    data = path.read_bytes()
    cuts = {*range(10), *range(len(data) - 10, len(data)), *range(0, len(data), len(data) // 50)}
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        caplog.clear()
        restored = restore(saved)
        assert restored.position == at(1), f"cut at {cut} of {len(data)}"
        assert same_as_saved(restored, SIZE)
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "is damaged (" in record.message and name in record.message, record.message


@pytest.mark.parametrize("name", FILES)
def test_any_bit_flipped(saved, name):
    path = file_of(saved, 2, name)
    data = path.read_bytes()
    chosen = random.Random(name).sample(range(8 * len(data)), 300)
    for bit in chosen:
        check_flipped(saved, path, data, bit)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_bit_flipped(saved, name):
    path = file_of(saved, 2, name)
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        check_flipped(saved, path, data, bit)


def check_flipped(saved, path, data, bit):
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    restored = find(saved)
    # A blank of the manifest that became another blank says the same; all else is found out.
    if path.name != "manifest.json" or restored.position != at(2):
        assert restored.position == at(1), f"bit {bit}"
    assert same_as_saved(restored, SIZE), f"bit {bit}"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(saved, name, caplog):
    file_of(saved, 2, name).unlink()
    assert same_as_saved(restored := restore(saved), SIZE) and restored.position == at(1)
    assert f"{name} is missing" in caplog.text


def test_a_missing_directory_of_the_newest(saved, caplog):
    shutil.rmtree(file_of(saved, 2, "manifest.json").parent)
    assert restore(saved).position == at(1)
    assert "it was the newest that was saved" in caplog.text


@pytest.mark.parametrize("name", FILES)
def test_both_damaged_is_an_error_and_no_beginning_anew(saved, name, caplog):
    for step in (1, 2):
        path = file_of(saved, step, name)
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(
        DataError, match=r"holds 2 snapshots and none is whole.*Remove the directory"
    ):
        restore(saved)
    assert len(caplog.records) == 2


def test_all_manifests_missing_is_an_error_and_no_beginning_anew(saved):
    for step in (1, 2):
        file_of(saved, step, "manifest.json").unlink()
    with pytest.raises(DataError, match="none is whole"):
        restore(saved)


def test_files_of_another_snapshot_are_not_taken_for_its_own(saved, caplog):
    for name in FILES:
        shutil.copy(file_of(saved, 1, name), file_of(saved, 2, name))
        assert restore(saved).position == at(1)
    assert "is not the one that manifest.json names" in caplog.text
    assert "manifest.json is of snapshot-000000000001" in caplog.text


def test_the_warning_names_the_array(saved, caplog):
    path = file_of(saved, 2, "task-00000.bin")
    data = bytearray(path.read_bytes())
    kernel = contents(2, size=SIZE).arrays["weights"]["0:dense/kernel"].tobytes()
    data[bytes(data).index(kernel) + 17] ^= 4
    path.write_bytes(data)
    restore(saved)
    assert "'weights/0:dense/kernel' in task-00000.bin has another checksum" in caplog.text


def test_a_file_that_cannot_be_read_is_passed_over(saved, caplog):
    path = file_of(saved, 2, "task-00001.bin")
    path.unlink()
    path.mkdir()
    assert restore(saved).position == at(1)
    assert "directory" in caplog.text.lower()


def test_small_files_beside_the_snapshots_may_be_damaged(saved, caplog):
    for name in ("run.json", "latest.json"):
        path = saved / name
        data = path.read_bytes()
        for cut in range(0, len(data), 7):
            path.write_bytes(data[:cut])
            assert restore(saved).position == at(2)
    assert "latest.json cannot be read" in caplog.text


def test_a_damaged_one_does_not_count_as_kept_and_goes_in_time(saved):
    path = file_of(saved, 2, "task-00000.bin")
    path.write_bytes(b"short")
    snapshots = Snapshots(saved, keep=2)
    snapshots.start()
    assert snapshots.restore().position == at(1)
    snapshots.save(at(3), contents(3))
    assert steps_in(saved) == [1, 3], "1 and 3 are whole, and 2 is not one of the two to keep"
    snapshots.save(at(4), contents(4))
    assert steps_in(saved) == [3, 4]


def test_damage_after_restore_is_an_error(tmp_path):
    snapshots = Snapshots(tmp_path)
    snapshots.save(at(1), Contents(arrays={"a": {"x": np.arange(100.0)}}))
    restored = snapshots.restore()
    (path,) = tmp_path.glob("*/task-00000.bin")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"changed while it was read: 'a/x' in task-00000\.bin"):
        restored.chief.arrays("a")["x"]
