"""Snapshots with a remote copy: uploaded in the background, and fetched where the local one fails."""

from __future__ import annotations

import shutil
import uuid

import fsspec
import numpy as np
import pytest

from tests.checkpoint.jobs import at, contents, run_tasks, same_as_saved, steps_in
from tfdml.checkpoint import Snapshots, load_weights
from tfdml.errors import DataError
from tfdml.storage.remote_storage import RemoteStorage


@pytest.fixture
def url():
    name = f"memory://jobs/{uuid.uuid4().hex}"
    yield name
    fsspec.filesystem("memory").rm(name.removeprefix("memory:/"), recursive=True)


def files_at(url):
    root = url.removeprefix("memory:/")
    found = fsspec.filesystem("memory").find(root)
    return sorted(path.removeprefix(root + "/") for path in found)


def remote_steps(url):
    return sorted(
        int(name.split("-")[1]) for name in files_at(url) if name.endswith("manifest.json")
    )


def saved(url, local, steps, **options):
    snapshots = Snapshots(url, local_directory=local, **options)
    snapshots.restore()
    for step in steps:
        assert snapshots.save(at(step), contents(step)).saved
    snapshots.close()


def found(url, local):
    return Snapshots(url, local_directory=local).restore()


def test_what_is_saved_is_in_both_places(url, tmp_path):
    saved(url, tmp_path, [1, 2, 3])
    assert steps_in(tmp_path) == [2, 3] and 3 in remote_steps(url)
    assert len(remote_steps(url)) <= 2
    assert all(name.endswith((".bin", "manifest.json")) for name in files_at(url))
    assert not list(tmp_path.rglob(".upload-*"))


def test_a_lost_local_directory_is_fetched(url, tmp_path):
    saved(url, tmp_path / "a", [1, 2])
    restored = found(url, tmp_path / "b")
    assert restored.position == at(2) and same_as_saved(restored)
    saved(url, tmp_path / "b", [3])
    assert found(url, tmp_path / "c").position == at(3), "the count goes on"


def test_a_damaged_local_file_is_fetched_again(url, tmp_path, caplog):
    saved(url, tmp_path, [1, 2])
    for path in tmp_path.glob("snapshot-*00002-*/*"):
        path.write_bytes(path.read_bytes()[:-3])
        restored = found(url, tmp_path)
        assert restored.position == at(2) and same_as_saved(restored)
    assert "fetching task-00000.bin" in caplog.text


def test_a_lost_remote_directory_does_not_matter(url, tmp_path):
    saved(url, tmp_path, [1, 2])
    fsspec.filesystem("memory").rm(url.removeprefix("memory:/"), recursive=True)
    assert found(url, tmp_path).position == at(2)
    saved(url, tmp_path, [3])
    assert remote_steps(url) == [3]


def test_the_newest_whole_one_wins_wherever_it_is(url, tmp_path):
    saved(url, tmp_path / "a", [1, 2])
    shutil.copytree(tmp_path / "a", tmp_path / "old")
    saved(url, tmp_path / "a", [3])
    assert found(url, tmp_path / "old").position == at(3)
    for path in (tmp_path / "a").glob("*00003-*/task*"):
        path.write_bytes(b"")
    memory = fsspec.filesystem("memory")
    (remote,) = (name for name in files_at(url) if "00003-" in name and name.endswith(".bin"))
    memory.pipe_file(f"{url.removeprefix('memory:/')}/{remote}", b"torn")
    assert found(url, tmp_path / "a").position == at(2)


def test_an_upload_that_fails_is_told_and_training_goes_on(url, tmp_path, monkeypatch):
    snapshots = Snapshots(url, local_directory=tmp_path)
    snapshots.start()
    publish = RemoteStorage.publish

    def fails(self, local_path, name):
        raise DataError("the link is down.")

    monkeypatch.setattr(RemoteStorage, "publish", fails)
    assert snapshots.save(at(1), contents(1)).saved
    snapshots._saver._work.wait()
    snapshots._mirror._work._thread.join()
    monkeypatch.setattr(RemoteStorage, "publish", publish)
    outcome = snapshots.save(at(2), contents(2))
    assert outcome.saved and outcome.mirror_error == "the link is down."
    snapshots.close()
    assert remote_steps(url) == [2] and steps_in(tmp_path) == [1, 2]


def test_tasks_without_a_common_disk_meet_behind_the_url(url, tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.checkpoint.snapshots.LOCAL_PATIENCE_SECONDS", 0.2)

    def work(steps, fresh=""):
        def run(task, of_each):
            snapshots = Snapshots(url, local_directory=tmp_path / f"host{task}{fresh}")
            snapshots.start(task=task, num_tasks=2, of_each=of_each)
            restored = snapshots.restore()
            for step in steps:
                outcome = snapshots.save(at(step), contents(step, task))
                assert outcome.saved, outcome.error
            if restored is None:
                return None
            own = restored.part(task).arrays("replicas")["dense/kernel/residual"]
            step = restored.position.global_step
            wanted = contents(step, task).arrays["replicas"]["dense/kernel/residual"]
            np.testing.assert_array_equal(own, wanted)
            return step, same_as_saved(restored)

        return run

    assert run_tasks(2, work([1, 2, 3])) == [None, None]
    assert remote_steps(url) == [2, 3]
    assert run_tasks(2, work([4])) == [(3, True)] * 2
    assert run_tasks(2, work([], fresh="new")) == [(4, True)] * 2
    assert len(list((tmp_path / "host1").glob("snapshot-*"))) <= 3


def test_weights_come_from_a_url(url, tmp_path):
    class Model:
        weights = ()

    saved(url, tmp_path, [1])
    with pytest.raises(DataError, match="variable 0 is not there here and 'dense/kernel'"):
        load_weights(Model(), url)


def test_delete_removes_both(url, tmp_path):
    saved(url, tmp_path, [1, 2])
    snapshots = Snapshots(url, local_directory=tmp_path)
    snapshots.delete()
    assert files_at(url) == [] and not list(tmp_path.glob("snapshot-*"))
    assert snapshots.restore() is None
    fsspec.filesystem("memory").pipe_file(url.removeprefix("memory:/") + "/x", b"")
