"""Weights of another model are refused, and the first layer that differs is named."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from tfdml.errors import ConfigError
from tfdml.export.weights import load_weights


def model(*, first: int = 4, last: int = 2, more: bool = False, dropout: float = 0.0):
    inner = keras.Sequential([keras.Input([first]), layers.Dense(5, name="inner")], name="part")
    parts = [keras.Input([3]), layers.Dense(first, name="first"), inner]
    parts += [layers.Dropout(dropout)] if dropout else []
    parts += [layers.BatchNormalization(name="norm"), layers.Dense(last, name="last")]
    parts += [layers.Dense(6, name="more")] if more else []
    result = keras.Sequential(parts)
    result.compile("adam", "mse")
    return result


@pytest.fixture
def file(tmp_path):
    model().save(tmp_path / "a.keras")
    return tmp_path / "a.keras"


def test_the_same_model_is_loaded_without_a_word(file):
    mine = model(dropout=0.5)  # has a seed more, and no weight
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(mine, file)
    theirs = keras.saving.load_model(file)
    for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"first": 7},
            "the first layer that differs is 'first' (Dense, weights [3, 4], [4]) in the file and "
            "'first' (Dense, weights [3, 7], [7]) in the model.",
        ),
        (
            {"last": 3},
            "the first layer that differs is 'last' (Dense, weights [5, 2], [2]) in the file and "
            "'last' (Dense, weights [5, 3], [3]) in the model.",
        ),
        ({"more": True}, "only the model has layer 'more' (Dense, weights [2, 6], [6])."),
    ],
)
def test_the_first_layer_that_differs_is_named(file, changes, message):
    with pytest.raises(ConfigError) as caught:
        load_weights(model(**changes), file)
    assert str(caught.value) == f"{file} is of another model: {message}"


def test_a_layer_that_only_the_file_has(tmp_path):
    # Keras alone takes no notice of it.
    model(more=True).save(tmp_path / "a.keras")
    keras.Model.load_weights(model(), tmp_path / "a.keras")
    with pytest.raises(ConfigError, match=r"only the file has layer 'more' \(Dense"):
        load_weights(model(), tmp_path / "a.keras")


def test_layers_within_a_model_are_looked_at(tmp_path, file):
    mine = keras.Sequential([keras.Input([3]), layers.Dense(4), layers.Dense(5)])
    with pytest.raises(ConfigError, match="only the file has layer 'norm'"):
        load_weights(mine, file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", None])
def test_a_damaged_file_is_one_sentence(tmp_path, file, content):
    broken = tmp_path / "broken.keras"
    broken.write_bytes(file.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(ConfigError, match=r"broken\.keras is no whole \.keras file"):
        load_weights(model(), broken)
