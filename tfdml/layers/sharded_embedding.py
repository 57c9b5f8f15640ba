"""A Keras layer whose table is several ordinary variables."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.layers.lookup import COMBINERS, checked, combine, look_up, rows_of_shard

DEFAULT_SHARD_BYTES = 64 * 2**20
PADDING = -1


@keras.saving.register_keras_serializable(package="tfdml")
class ShardedEmbedding(keras.layers.Layer):
    """Turns ids into rows of a table that need not fit on one machine.

    Works under every strategy. Under ParameterServerStrategy each shard lies on one of the parameter servers (in
    turn), and only the rows of a batch, and their gradients, travel. The shards are ordinary variables, so weights
    files and checkpoints hold them, and their number depends on the arguments alone: what one number of parameter
    servers has saved, another can load. Row i is row i // num_shards of shard i % num_shards (`lookup.py` says
    why), so `shards[s]` is `table[s::num_shards]`.

    Inputs:
        Without `combiner`: integers of any shape [...] -> [..., output_dim], a `tf.RaggedTensor` -> one of rows.
        With `combiner`: [..., k] or a `tf.RaggedTensor` [batch, None] -> one row [..., output_dim] for each example.
        An id of -1 is padding: it adds nothing. `weights`, of the shape of the ids, weighs each row. An example
        without ids becomes zeros.
        The result has the layer's compute dtype. Only the rows of the batch are cast to it, never the table.

    Args:
        input_dim: rows of the table; ids are 0 to input_dim - 1.
        output_dim: width of a row.
        num_shards: default: as few as keep each shard within `max_shard_bytes`. Take a multiple of the number of
            parameter servers.
        max_shard_bytes: upper limit of one variable, in bytes.
        combiner: None, or "sum", "mean", "sqrtn" for ids with several values an example
            (`lookup.combine` has the formulas).
        embeddings_initializer: called for each shard with the shard's shape, on the device that holds it. One that
            has a seed gets another for each shard. One that scales with the shape, as glorot does, sees a shard.
        feature_name: what messages call the ids; default: the layer's name.

    Raises:
        ConfigError: an argument that is out of range, or inputs that do not fit the combiner.
        DataError: an id that is not in the table, in eager mode and in tfdml.Trainer. Elsewhere in a graph:
            tf.errors.InvalidArgumentError with the same sentence.
    """

    # A step reads some rows of its variables: for those who would read a variable whole (a `pull_dtype`).
    is_table = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        num_shards: int | None = None,
        max_shard_bytes: int = DEFAULT_SHARD_BYTES,
        combiner: str | None = None,
        embeddings_initializer: Any = "uniform",
        feature_name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value in (
            ("input_dim", input_dim),
            ("output_dim", output_dim),
            ("num_shards", num_shards),
            ("max_shard_bytes", max_shard_bytes),
        ):
            if value is None and name == "num_shards":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"`{name}` of ShardedEmbedding must be a whole number of at least 1, got {value!r}."
                )
        if combiner is not None and combiner not in COMBINERS:
            raise ConfigError(
                f"`combiner` must be None or one of {', '.join(COMBINERS)}, got {combiner!r}. "
                "None gives a row for each id."
            )
        if num_shards is not None and num_shards > input_dim:
            raise ConfigError(
                f"`num_shards` must be at most `input_dim`, {input_dim}, got {num_shards}. "
                "Leave it out to have it chosen by `max_shard_bytes`."
            )
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.max_shard_bytes = max_shard_bytes
        self.combiner = combiner
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.feature_name = feature_name
        self._num_shards_given = num_shards
        self.num_shards = num_shards or self._fitting_shards()
        self.supports_jit = False  # How many distinct ids a batch has is not known beforehand.

    def _fitting_shards(self) -> int:
        row_bytes = self.output_dim * tf.as_dtype(self.variable_dtype).size
        rows = max(1, self.max_shard_bytes // row_bytes)
        return -(-self.input_dim // rows)

    def build(self, input_shape: Any = None) -> None:
        """Create the shards, one after the other."""
        if input_shape is not None:
            self._check_rank(input_shape)
        self.shards = [
            self.add_weight(
                name=f"shard_{shard}",
                shape=(
                    rows_of_shard(self.input_dim, shard, self.num_shards),
                    self.output_dim,
                ),
                initializer=_for_shard(self.embeddings_initializer, shard),
                trainable=True,
                autocast=False,  # would cast the whole table, in every step
            )
            for shard in range(self.num_shards)
        ]
        self.built = True

    def _check_rank(self, shape: Any) -> None:
        if self.combiner is not None and len(shape) < 2:
            raise ConfigError(
                f"{self.name!r} has combiner={self.combiner!r}, which takes ids of shape [batch, k], "
                f"got {list(shape)}. Leave the combiner out where every example has one id."
            )

    def call(self, inputs: Any, weights: Any = None) -> Any:
        """Rows, or one combined row for each example; the class says which shapes."""
        if weights is not None and self.combiner is None:
            raise ConfigError(
                f"`weights` of {self.name!r} needs a combiner, got none. Set it to one of {', '.join(COMBINERS)}."
            )
        if isinstance(inputs, tf.RaggedTensor):
            return self._ragged(inputs, weights)
        ids = _integers(inputs)
        if self.combiner is None:
            rows = self._rows(tf.reshape(ids, [-1]))
            shape = tf.concat([tf.shape(ids), [self.output_dim]], 0)
            result = tf.reshape(tf.cast(rows, self.compute_dtype), shape)
            result.set_shape([*ids.shape, self.output_dim])
            return result
        self._check_rank(ids.shape)
        flat = tf.reshape(ids, [-1, tf.shape(ids)[-1]])
        places = tf.where(flat != PADDING)
        if weights is not None:
            weights = tf.gather_nd(tf.reshape(weights, tf.shape(flat)), places)
        result = self._combined(
            tf.gather_nd(flat, places), places[:, 0], tf.shape(flat)[0], weights
        )
        result = tf.reshape(result, tf.concat([tf.shape(ids)[:-1], [self.output_dim]], 0))
        result.set_shape([*ids.shape[:-1], self.output_dim])
        return result

    def _ragged(self, ids: tf.RaggedTensor, weights: Any) -> Any:
        if self.combiner is None:
            rows = self._rows(_integers(ids.flat_values))
            return ids.with_flat_values(tf.cast(rows, self.compute_dtype))
        if ids.ragged_rank != 1 or ids.flat_values.shape.rank != 1:
            raise ConfigError(
                f"{self.name!r} has combiner={self.combiner!r}, which takes a RaggedTensor of shape [batch, None], "
                f"got {ids.shape}."
            )
        if weights is not None:
            weights = weights.flat_values if isinstance(weights, tf.RaggedTensor) else weights
        result = self._combined(_integers(ids.values), ids.value_rowids(), ids.nrows(), weights)
        result.set_shape([ids.shape[0], self.output_dim])
        return result

    def _combined(
        self, ids: tf.Tensor, segments: tf.Tensor, num_segments: tf.Tensor, weights: Any
    ) -> tf.Tensor:
        assert self.combiner is not None
        rows = self._rows(ids)
        if weights is not None:
            weights = tf.cast(weights, rows.dtype)
        total = combine(rows, segments, num_segments, weights, self.combiner)
        return tf.cast(total, self.compute_dtype)

    def _rows(self, ids: tf.Tensor) -> tf.Tensor:
        ids = checked(ids, self.input_dim, self.feature_name or self.name)
        return look_up([shard.value for shard in self.shards], ids)

    def compute_output_shape(self, inputs_shape: Any) -> tuple:
        """Of the rows: one more dimension, in place of the last where there is a combiner."""
        kept = inputs_shape if self.combiner is None else inputs_shape[:-1]
        return (*kept, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "num_shards": self._num_shards_given,
            "max_shard_bytes": self.max_shard_bytes,
            "combiner": self.combiner,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "feature_name": self.feature_name,
        }


def _integers(ids: Any) -> tf.Tensor:
    """Keras hands ids on as float where its inputs say nothing else."""
    ids = tf.convert_to_tensor(ids)
    return ids if ids.dtype in (tf.int32, tf.int64) else tf.cast(ids, tf.int64)


def _for_shard(initializer: Any, shard: int) -> Any:
    """`initializer`, with a seed of the shard's own: one and the same would fill all shards with the same numbers."""
    seed = getattr(initializer, "seed", None)
    if not isinstance(seed, int):
        return initializer
    config = {**initializer.get_config(), "seed": (seed + 1_000_003 * shard) % 2**31}
    return type(initializer).from_config(config)
