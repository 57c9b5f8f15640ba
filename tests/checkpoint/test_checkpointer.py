"""Snapshots that are damaged, of another model, or cannot be written."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfdml.checkpoint import Checkpointer, Position
from tfdml.errors import DataError


def make_model(units: int = 3) -> keras.Model:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(units)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def save_two(directory) -> tuple[Checkpointer, keras.Model]:
    checkpointer, model = Checkpointer(directory), make_model()
    checkpointer.save(model, Position(1, 0, 10))
    model.layers[0].kernel.assign(np.ones([4, 3]))
    checkpointer.save(model, Position(2, 0, 20))
    return checkpointer, model


def test_restores_every_variable(tmp_path):
    checkpointer, model = save_two(tmp_path)
    other = make_model()
    assert checkpointer.restore(other) == (Position(2, 0, 20), [])
    wanted = [*model.variables, *model.optimizer.variables]
    got = [*other.variables, *other.optimizer.variables]
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_an_empty_directory_has_nothing_to_restore(tmp_path):
    assert Checkpointer(tmp_path / "missing").restore(make_model()) is None


@pytest.mark.parametrize("suffix", [".bin", ".json"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_truncated_snapshot_is_passed_over_with_a_warning(tmp_path, caplog, suffix, keep):
    checkpointer, _ = save_two(tmp_path)
    path = tmp_path / f"snapshot-{20:012d}{suffix}"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert checkpointer.restore(make_model()) == (Position(1, 0, 10), [])
    assert f"snapshot-{20:012d}.json is damaged" in caplog.text


def test_a_flipped_bit_is_noticed(tmp_path):
    checkpointer, _ = save_two(tmp_path)
    for path in tmp_path.glob("*.bin"):
        data = bytearray(path.read_bytes())
        data[17] ^= 4
        path.write_bytes(data)
    with pytest.raises(DataError, match="2 snapshots and none is whole"):
        checkpointer.restore(make_model())


def test_a_snapshot_of_another_model_names_the_first_differing_variable(tmp_path):
    checkpointer, _ = save_two(tmp_path)
    with pytest.raises(DataError, match=r"another model: variable 0 .*kernel.*\[4, 5\] here"):
        checkpointer.restore(make_model(units=5))


def test_only_the_newest_snapshots_are_kept(tmp_path):
    checkpointer, model = save_two(tmp_path)
    checkpointer.save(model, Position(3, 0, 30))
    steps = sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("*.json"))
    assert steps == [20, 30]
    checkpointer.delete()
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_snapshots(tmp_path, monkeypatch):
    checkpointer, model = save_two(tmp_path)
    before = sorted(tmp_path.iterdir())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpointer.save(model, Position(3, 0, 30))
    assert sorted(tmp_path.iterdir()) == before
