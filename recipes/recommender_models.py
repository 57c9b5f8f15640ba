"""Recommenders: rating models give a rating for each user and item, two-tower models the logits of a batch.

All take columns of a batch, which `model.input` names: user and item numbers, and numbers about them.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

from tfdml.layers import ShardedEmbedding


@dataclass(frozen=True)
class Sizes:
    """What a model must know of the data; `num_train` is the number of interactions for training."""

    num_users: int
    num_items: int
    num_train: int
    mean_rating: float


@dataclass(frozen=True)
class Tables:
    """What all tables of embeddings have in common.

    Args:
        factors: width of a row.
        l2: penalty: this times the squared norms of the rows that a batch asks for, in the mean over the batch.
        max_shard_bytes: upper limit of one variable.
    """

    factors: int
    l2: float
    max_shard_bytes: int

    def table(self, rows: int, name: str, width: int | None = None) -> ShardedEmbedding:
        return ShardedEmbedding(
            rows,
            width or self.factors,
            max_shard_bytes=self.max_shard_bytes,
            # Small, so that a user without ratings is an average one; not 0, where p.q has no gradient.
            embeddings_initializer=keras.initializers.RandomNormal(stddev=0.05)
            if width is None
            else "zeros",
            # Of the rows of a batch, over its size: its cost does not grow with the table.
            activity_regularizer=RowPenalty(self.l2),
            name=f"{name}_table",
            feature_name=name.removesuffix("_bias"),
        )


def matrix_factorization(sizes: Sizes, tables: Tables, hidden: list[int]) -> keras.Model:
    """mean + b_u + b_i + p_u.q_i (Koren, Bell and Volinsky 2009, equation 4); no hidden layer."""
    user, item = _number("user"), _number("item")
    p = tables.table(sizes.num_users, "user")(user)
    q = tables.table(sizes.num_items, "item")(item)
    user_bias = tables.table(sizes.num_users, "user_bias", width=1)(user)
    item_bias = tables.table(sizes.num_items, "item_bias", width=1)(item)
    affinity = layers.Dot(axes=1)([p, q])
    total = layers.Add(dtype="float32")([user_bias, item_bias, affinity])
    return keras.Model({"user": user, "item": item}, _around(sizes.mean_rating, total))


def dlrm(sizes: Sizes, tables: Tables, hidden: list[int]) -> keras.Model:
    """Embeddings and a network over dense features, their pairwise dot products, and a network over those.

    Naumov et al. 2019 (Deep Learning Recommendation Model), figure 1. Dense are the time, and the logarithms of how
    often the user and the item occur.
    """
    user, item = _number("user"), _number("item")
    dense = {name: keras.Input((), name=name) for name in ("time", "user_count", "item_count")}
    logs = [ops.log1p(dense[name]) / 10 for name in ("user_count", "item_count")]
    bottom = ops.stack([dense["time"], *logs], axis=-1)
    for units in hidden:
        bottom = layers.Dense(units, activation="relu")(bottom)
    bottom = layers.Dense(tables.factors)(bottom)
    vectors = ops.stack(
        [
            bottom,
            tables.table(sizes.num_users, "user")(user),
            tables.table(sizes.num_items, "item")(item),
        ],
        axis=1,
    )
    products = layers.Dot(axes=2)([vectors, vectors])
    pairs = [products[:, row, column] for row in range(3) for column in range(row)]
    top = layers.Concatenate()([bottom, ops.stack(pairs, axis=-1)])
    for units in hidden:
        top = layers.Dense(units, activation="relu")(top)
    rating = layers.Dense(1, dtype="float32")(top)
    return keras.Model({"user": user, "item": item, **dense}, _around(sizes.mean_rating, rating))


def two_tower(sizes: Sizes, tables: Tables, hidden: list[int]) -> keras.Model:
    """Logits of every user of a batch with every item of it (Yi et al. 2019); see `InBatchLogits`.

    The layers `user_tower` and `item_tower` turn numbers into vectors, whose dot products rank the items.
    """
    user, item = _number("user"), _number("item")
    item_count = keras.Input((), name="item_count")
    users = _tower("user", sizes.num_users, tables, hidden)(user)
    items = _tower("item", sizes.num_items, tables, hidden)(item)
    logits = InBatchLogits(sizes.num_train, dtype="float32")([users, items, item, item_count])
    return keras.Model({"user": user, "item": item, "item_count": item_count}, logits)


RATING_MODELS = {"matrix_factorization": matrix_factorization, "dlrm": dlrm}
RETRIEVAL_MODELS = {"two_tower": two_tower}


@keras.saving.register_keras_serializable(package="recommender")
class InBatchLogits(layers.Layer):
    """Row i: user i with its own item, in column i, and with the other items of the batch, the negatives.

    An item is in a batch the more often the more popular it is, and would be pushed down for that: the logarithm of
    its share of the training data is taken off its logits (Yi et al. 2019, equation 4). Another copy of a user's own
    item is no negative. With several replicas the negatives are those of the same replica.

    Args:
        num_train: interactions of the training data.
    """

    def __init__(self, num_train: int, **kwargs):
        super().__init__(**kwargs)
        self.num_train = num_train

    def call(self, inputs):
        """[users [batch, n], items [batch, n], item numbers [batch], their counts [batch]] -> [batch, batch]."""
        users, items, numbers, counts = inputs
        share = ops.maximum(counts, 1.0) / self.num_train
        logits = ops.matmul(users, ops.transpose(items)) - ops.log(share)
        row = ops.arange(ops.shape(numbers)[0])
        same_item = ops.equal(numbers[:, None], numbers[None, :])
        copies = ops.logical_and(same_item, ops.not_equal(row[:, None], row[None, :]))
        return ops.where(copies, -1e9, logits)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], input_shape[0][0])

    def get_config(self):
        return {**super().get_config(), "num_train": self.num_train}


@keras.saving.register_keras_serializable(package="recommender")
def in_batch_softmax(y_true, logits):
    """[batch]: minus the log-probability of each user's own item, the diagonal; `y_true` says nothing more."""
    return -ops.diagonal(ops.log_softmax(logits))


@keras.saving.register_keras_serializable(package="recommender")
class RowPenalty(keras.regularizers.L2):
    """L2, in float32 as every other loss: under mixed precision rows are shorter, and Keras cannot add the two."""

    def __call__(self, rows):
        return super().__call__(ops.cast(rows, "float32"))


def _number(name: str):
    return keras.Input((), dtype="int64", name=name)


def _around(mean: float, rating):
    """Centred ratings [batch, 1] -> ratings."""
    return layers.Rescaling(1.0, offset=mean, dtype="float32", name="rating")(rating)


def _tower(name: str, rows: int, tables: Tables, hidden: list[int]) -> keras.Model:
    number = _number(name)
    x = tables.table(rows, name)(number)
    for units in hidden:
        x = layers.Dense(units, activation="relu")(x)
    # Dot products stay float32 under mixed precision.
    return keras.Model(
        number, layers.Dense(tables.factors, dtype="float32")(x), name=f"{name}_tower"
    )
