"""An evaluator sees the weights of each new snapshot."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfdml.checkpoint import Contents, Position, Snapshots, follow, model_sections
from tfdml.errors import ConfigError, DataError


def make_model(units=1):
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(units)])
    model.compile("sgd", "mse")
    return model


def save(snapshots, model, step):
    model.layers[0].kernel.assign(np.full(model.layers[0].kernel.shape, float(step)))
    position = Position(0, step, step)
    assert snapshots.save(position, Contents(arrays=model_sections(model))).saved


def test_each_new_one_is_loaded_and_the_newest_of_several(tmp_path):
    snapshots, trained, seen = Snapshots(tmp_path / "new"), make_model(), make_model()
    steps = []
    following = follow(seen, tmp_path / "new", poll_seconds=0.01, timeout_seconds=0.2)
    save(snapshots, trained, 1)
    for position in following:
        steps.append(position.global_step)
        assert seen.layers[0].kernel.numpy().ravel().tolist() == [position.global_step] * 2
        if len(steps) == 1:
            save(snapshots, trained, 2)
            save(snapshots, trained, 3)
    assert steps == [1, 3]


def test_nothing_there_and_nothing_comes(tmp_path):
    assert list(follow(make_model(), tmp_path, poll_seconds=0.01, timeout_seconds=0.05)) == []


def test_what_cannot_be_followed(tmp_path):
    save(Snapshots(tmp_path), make_model(units=2), 1)
    with pytest.raises(DataError, match="another model"):
        next(follow(make_model(), tmp_path))
    with pytest.raises(ConfigError, match="got the URL 's3://bucket/backup'"):
        next(follow(make_model(), "s3://bucket/backup"))
    with pytest.raises(ConfigError, match="`poll_seconds` must be positive, got 0"):
        next(follow(make_model(), tmp_path, poll_seconds=0))
