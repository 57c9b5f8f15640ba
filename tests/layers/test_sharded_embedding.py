"""ShardedEmbedding on one device: against keras.layers.Embedding and NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdml
from tfdml.errors import ConfigError, DataError
from tfdml.layers import ShardedEmbedding

ROWS, WIDTH = 11, 3
TABLE = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype("f4")
SHARDS = pytest.mark.parametrize("num_shards", [1, 4])
PADDED = np.array([[3, 3, -1, 10], [-1, -1, -1, -1], [0, -1, 7, 3], [5, 6, 7, 8]])
WEIGHTS = np.random.default_rng(1).uniform(0.5, 2, PADDED.shape).astype("f4")


def embedding(num_shards=4, **arguments) -> ShardedEmbedding:
    """With the rows of TABLE."""
    layer = ShardedEmbedding(ROWS, WIDTH, num_shards=num_shards, **arguments)
    layer.build()
    for number, shard in enumerate(layer.shards):
        shard.assign(TABLE[number::num_shards])
    return layer


def combined(combiner: str, weights: np.ndarray) -> np.ndarray:
    result = np.zeros((len(PADDED), WIDTH))
    for row, (ids, factors) in enumerate(zip(PADDED, weights, strict=True)):
        used = ids >= 0
        if used.any():
            total = (TABLE[ids[used]] * factors[used, None]).sum(0)
            divisors = {
                "sum": 1.0,
                "mean": factors[used].sum(),
                "sqrtn": np.sqrt(np.square(factors[used]).sum()),
            }
            result[row] = total / divisors[combiner]
    return result


def ragged(values: np.ndarray) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(values[PADDED >= 0], (PADDED >= 0).sum(1))


@SHARDS
@pytest.mark.parametrize("shape", [(7,), (2, 5), (2, 3, 2), (0,)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_rows_are_those_of_keras(num_shards, shape, dtype):
    ids = np.random.default_rng(2).integers(0, ROWS, shape).astype(dtype)
    reference = keras.layers.Embedding(ROWS, WIDTH, weights=[TABLE])
    result = embedding(num_shards)(ids)
    np.testing.assert_array_equal(result, reference(ids.astype("int32")))
    assert result.shape == (*shape, WIDTH)


@SHARDS
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("compiled", [False, True])
def test_several_ids_are_combined(num_shards, weighted, combiner, compiled):
    layer = embedding(num_shards, combiner=combiner)
    call = tf.function(layer) if compiled else layer
    weights = WEIGHTS if weighted else np.ones_like(WEIGHTS)
    expected = combined(combiner, weights)
    arguments = [tf.constant(WEIGHTS)] if weighted else []
    padded = call(tf.constant(PADDED), *arguments)
    np.testing.assert_allclose(padded, expected, rtol=1e-6, atol=1e-6)
    arguments = [ragged(WEIGHTS)] if weighted else []
    from_ragged = call(ragged(PADDED), *arguments)
    np.testing.assert_allclose(from_ragged, expected, rtol=1e-6, atol=1e-6)
    sparse = tf.nn.embedding_lookup_sparse(
        TABLE,
        ragged(PADDED).to_sparse(),
        ragged(WEIGHTS).to_sparse() if weighted else None,
        combiner=combiner,
    )
    filled = [0, 2, 3]  # it does not count examples without ids
    np.testing.assert_allclose(tf.gather(from_ragged, filled), tf.gather(sparse, filled), rtol=1e-5)


def test_more_dimensions_and_ragged_rows():
    layer = embedding(combiner="sum")
    stacked = np.stack([PADDED, PADDED[::-1]])
    expected = combined("sum", np.ones_like(WEIGHTS))
    np.testing.assert_allclose(layer(stacked), np.stack([expected, expected[::-1]]), rtol=1e-6)
    rows = embedding()(ragged(PADDED))
    assert isinstance(rows, tf.RaggedTensor)
    np.testing.assert_array_equal(rows[2], TABLE[[0, 7, 3]])


@SHARDS
@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_gradients_are_the_touched_rows_of_each_shard(num_shards, combiner, recwarn):
    layer = embedding(num_shards, combiner=combiner)
    upstream = tf.constant(np.random.default_rng(3).normal(size=(4, WIDTH)), tf.float32)
    table = tf.Variable(TABLE)
    with tf.GradientTape() as tape:
        rows = tf.gather(table, tf.maximum(PADDED, 0))
        factors = tf.constant(np.where(PADDED >= 0, WEIGHTS, 0))
        divisor = {
            "sum": tf.ones(4),
            "mean": tf.reduce_sum(factors, 1),
            "sqrtn": tf.sqrt(tf.reduce_sum(factors**2, 1)),
        }[combiner]
        total = tf.reduce_sum(rows * factors[..., None], 1)
        loss = tf.reduce_sum(upstream * tf.math.divide_no_nan(total, divisor[:, None]))
    expected = tf.convert_to_tensor(tape.gradient(loss, table)).numpy()

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(upstream * layer(PADDED, tf.constant(WEIGHTS)))
        return tape.gradient(loss, [shard.value for shard in layer.shards])

    named = []
    for number, gradient in enumerate(gradients()):
        assert isinstance(gradient, tf.IndexedSlices)
        dense = tf.convert_to_tensor(gradient).numpy()
        np.testing.assert_allclose(dense, expected[number::num_shards], rtol=1e-5, atol=1e-6)
        named += list(gradient.indices.numpy() * num_shards + number)
    assert sorted(named) == sorted(set(PADDED[PADDED >= 0]))  # each once, and no padding
    assert not [warning for warning in recwarn if "IndexedSlices" in str(warning.message)]


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_saved_and_loaded(tmp_path, kind):
    def model():
        return keras.Sequential(
            [
                keras.Input((4,), dtype="int64"),
                ShardedEmbedding(ROWS, WIDTH, num_shards=4, combiner="mean"),
            ]
        )

    saved = model()
    if kind == "keras":
        saved.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
    else:
        saved.save_weights(tmp_path / "model.weights.h5")
        loaded = model()
        loaded.load_weights(tmp_path / "model.weights.h5")
    assert len(loaded.layers[0].weights) == 4
    np.testing.assert_array_equal(saved(PADDED), loaded(PADDED))


def test_a_functional_model_knows_shapes():
    ids, weights = keras.Input((None,), dtype="int64"), keras.Input((None,))
    output = ShardedEmbedding(ROWS, WIDTH, combiner="sum")(ids, weights)
    assert output.shape == (None, WIDTH)
    model = keras.Model([ids, weights], output)
    assert model([PADDED, WEIGHTS]).shape == (4, WIDTH)
    plain = ShardedEmbedding(ROWS, WIDTH)(keras.Input((5,), dtype="int32"))
    assert plain.shape == (None, 5, WIDTH)
    layer = ShardedEmbedding(ROWS, WIDTH, combiner="sum")
    assert layer.compute_output_shape((None, 4)) == (None, WIDTH)


def test_config_and_number_of_shards():
    layer = ShardedEmbedding(1000, 8, max_shard_bytes=8 * 4 * 300, feature_name="user_id")
    assert layer.num_shards == 4
    again = ShardedEmbedding.from_config(layer.get_config())
    assert again.get_config() == layer.get_config() and again.num_shards == 4
    layer.build()
    assert [shard.shape[0] for shard in layer.shards] == [250] * 4
    layer = ShardedEmbedding(10, 2, num_shards=4)
    layer.build()
    assert [shard.shape[0] for shard in layer.shards] == [3, 3, 2, 2]
    assert ShardedEmbedding(10**6, 64).num_shards == 4  # 256 MB


def test_shards_begin_with_different_numbers():
    layer = ShardedEmbedding(
        40, 8, num_shards=4, embeddings_initializer=keras.initializers.RandomNormal(seed=1)
    )
    same = ShardedEmbedding.from_config(layer.get_config())
    layer.build(), same.build()
    values = [shard.numpy() for shard in layer.shards]
    assert len({value.tobytes() for value in values}) == 4
    for value, other in zip(values, same.shards, strict=True):
        np.testing.assert_array_equal(value, other.numpy())
    default = ShardedEmbedding(40, 8, num_shards=4)
    default.build()
    assert len({shard.numpy().tobytes() for shard in default.shards}) == 4
    assert np.all(embedding(embeddings_initializer="ones").shards[0].numpy() != 1)


def test_mixed_precision_casts_rows_only():
    layer = embedding(dtype="mixed_bfloat16")
    ids = tf.constant([3, 3, 10])
    result = layer(ids)
    assert result.dtype == tf.bfloat16 and layer.shards[0].dtype == "float32"
    np.testing.assert_array_equal(result, tf.cast(TABLE[[3, 3, 10]], tf.bfloat16))
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec([3], tf.int32)).graph
    assert not [op for op in graph.get_operations() if op.type == "ReadVariableOp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"input_dim": 0},
            "`input_dim` of ShardedEmbedding must be a whole number of at least 1, got 0",
        ),
        ({"output_dim": 2.5}, "`output_dim` .* got 2.5"),
        ({"num_shards": 0}, "`num_shards` .* got 0"),
        ({"num_shards": 12}, "`num_shards` must be at most `input_dim`, 11, got 12"),
        ({"combiner": "max"}, "`combiner` must be None or one of sum, mean, sqrtn, got 'max'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ShardedEmbedding(**{"input_dim": ROWS, "output_dim": WIDTH, **arguments})


def test_inputs_that_do_not_fit_the_combiner():
    with pytest.raises(ConfigError, match=r"`weights` of 'e' needs a combiner"):
        embedding(name="e")(PADDED, WEIGHTS)
    with pytest.raises(
        ConfigError,
        match=r"'e' has combiner='sum', which takes ids of shape \[batch, k\], got \[2\]",
    ):
        embedding(name="e", combiner="sum")(np.array([1, 2]))
    deep = tf.ragged.constant([[[1], [2, 3]]])
    with pytest.raises(
        ConfigError, match="'e' has combiner='sum', which takes a RaggedTensor of shape"
    ):
        embedding(name="e", combiner="sum")(deep)


@pytest.mark.parametrize("bad", [ROWS, -2, 10**12])
def test_an_id_that_is_not_in_the_table_is_named(bad):
    layer = embedding(feature_name="user_id", combiner="sum")
    ids = tf.constant([[1, 2], [bad, 3]], tf.int64)
    sentence = (
        f"Feature `user_id` has the id {bad}, and its table has 11 rows, numbered 0 to 10. "
        "Correct the data, or make `input_dim` of its ShardedEmbedding larger."
    )
    with pytest.raises(DataError) as caught:
        layer(ids)
    assert sentence in str(caught.value)  # Keras puts the call around it
    with pytest.raises(DataError) as caught, tfdml.data.read_errors.data_errors():
        tf.function(layer)(ids)
    assert str(caught.value) == sentence
    with pytest.raises(DataError, match="Feature `e` has the id -1"):
        embedding(name="e")(tf.constant([-1]))
