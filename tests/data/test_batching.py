"""Padding to the longest, to multiples and to boundaries; masks; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdml.data.batching import Padded
from tfdml.errors import ConfigError

SHORT = tf.ragged.constant([[1, 2, 3], [4], []], dtype=tf.int64)


def test_to_the_longest():
    np.testing.assert_array_equal(Padded()(SHORT), [[1, 2, 3], [4, 0, 0], [0, 0, 0]])
    assert Padded()(SHORT[2:]).shape == (1, 1)  # a batch without a token has a length of 1


@pytest.mark.parametrize(
    ("padded", "length"),
    [
        (Padded(multiple_of=8), 8),
        (Padded(multiple_of=3), 3),
        (Padded(boundaries=(2, 3, 9)), 3),
        (Padded(boundaries=(2, 5, 9)), 5),
        (Padded(boundaries=(7,)), 7),
        (Padded(boundaries=(1, 2), too_long="truncate"), 2),
    ],
)
def test_lengths(padded, length):
    result = tf.function(padded)(SHORT)
    assert result.shape == (3, length)
    np.testing.assert_array_equal(result[0, :3], [1, 2, 3][:length])
    assert not result.numpy()[0, 3:].any()


def test_one_boundary_is_a_static_shape():
    spec = tf.RaggedTensorSpec([None, None, 2], tf.float32, ragged_rank=1)
    traced = tf.function(Padded(boundaries=(16,))).get_concrete_function(spec)
    assert traced.structured_outputs.shape.as_list() == [None, 16, 2]


def test_a_sequence_that_is_too_long_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"longer than the last of .* 2"):
        tf.function(Padded(boundaries=(1, 2)))(SHORT)


def test_nested_batches_with_values_and_masks():
    batch = (
        {"tokens": SHORT, "words": tf.ragged.constant([["a"], [], ["b", "c"]]), "id": tf.range(3)},
        tf.constant([0, 1, 0]),
    )
    padded, labels = Padded(value={"tokens": -1}, mask=True, multiple_of=4)(batch)
    np.testing.assert_array_equal(padded["tokens"][1], [4, -1, -1, -1])
    np.testing.assert_array_equal(padded["tokens_mask"].numpy().sum(1), [3, 1, 0])
    assert padded["tokens_mask"].numpy()[1].tolist() == [True, False, False, False]
    assert padded["words"].numpy()[2].tolist() == [b"b", b"c", b"", b""]
    assert set(padded) == {"tokens", "tokens_mask", "words", "words_mask", "id"}
    np.testing.assert_array_equal(padded["id"], [0, 1, 2])
    np.testing.assert_array_equal(labels, [0, 1, 0])


def test_inner_dimensions_stay():
    vectors = tf.RaggedTensor.from_row_lengths(tf.ones([4, 2]), [3, 1])
    padded = Padded(multiple_of=4, value=-1)(vectors)
    assert padded.shape == (2, 4, 2)
    np.testing.assert_array_equal(padded[1, :, 0], [1, -1, -1, -1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"multiple_of": 0}, "`multiple_of` must be at least 1, got 0"),
        ({"boundaries": (4, 2)}, r"`boundaries` must be .* rising order, got \(4, 2\)"),
        ({"boundaries": (0, 2)}, "`boundaries` must be positive"),
        ({"boundaries": (4,), "multiple_of": 2}, "Use one"),
        ({"too_long": "drop"}, "`too_long` must be error or truncate, got 'drop'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Padded(**arguments)


def test_a_mask_needs_a_name():
    with pytest.raises(ConfigError, match="got a batch that is no dict"):
        Padded(mask=True)((SHORT, tf.constant([1])))
