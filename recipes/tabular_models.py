"""Models of tables: layers that make numbers of raw rows, networks on these, and both in one for serving.

`preprocessing` has nothing to train: its layers are set from what the training split is like. It runs on the host,
as a part of the data, so that texts never reach an accelerator. What is trained is a network of `NETWORKS`, which
gives logits (or a standardised number). `with_raw_rows` puts both together, with probabilities in the end.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers, ops

from tfdml.data import TrainedTable
from tfdml.errors import ConfigError

NUMBERS = "numbers"
MISSING, UNKNOWN = 0, 1  # numbers of categories; those that are known come from 2 on
_NO_CATEGORY = "\x00"  # what the layer calls the unknown ones; it must not be one of the known


@dataclass(frozen=True)
class Shapes:
    """What a network must know of its inputs and outputs.

    Attributes:
        numbers: values of a row: the numeric columns, and indicators of those that are missing.
        categories: of each categorical column, how many numbers its categories have.
        crosses: of each pair of columns, how many buckets.
        outputs: 1 for two classes or a number, else the number of classes.
        window: rows of a window, 0 where a row stands for itself.
    """

    numbers: int
    categories: tuple[int, ...]
    crosses: tuple[int, ...]
    outputs: int
    window: int

    @classmethod
    def of(
        cls, table: TrainedTable, crosses: Sequence[Sequence[str]], cross_buckets: int
    ) -> Shapes:
        schema, facts = table.schema, table.facts
        return cls(
            len(schema.numeric) + sum(count > 0 for count in facts.missing),
            tuple(len(facts.categories[name]) + 2 for name in schema.categorical),
            (cross_buckets,) * len(crosses),
            len(schema.classes) if schema.task == "multiclass" else 1,
            schema.window,
        )


def preprocessing(
    table: TrainedTable, crosses: Sequence[Sequence[str]], cross_buckets: int
) -> keras.Model:
    """Raw columns -> {"numbers": float32, "category_0": int64, ..., "cross_0": int64, ...}.

    Columns have the names of `input_names`, and are [batch] each, or [batch, window]; "numbers" has a last
    dimension more. A missing number becomes the
    mean of training, which is 0 after `Normalization`; columns that had missing values in training have an indicator
    too. A missing category has the number 0, an unknown one 1. A cross is a pair of categories, hashed into buckets
    (Cheng et al. 2016, Wide & Deep Learning, section 3.1).

    Raises:
        ConfigError: a cross names a column that is not categorical, or the rows are windows.
    """
    schema, facts = table.schema, table.facts
    shape, names = (schema.window,) if schema.window else (), input_names(table)
    columns = {
        column.name: keras.Input(
            shape,
            dtype="float32" if column.kind == "numeric" else "string",
            name=names[column.name],
        )
        for column in schema.columns
    }
    encoded = {}
    if schema.numeric:
        numbers = ops.stack([columns[name] for name in schema.numeric], axis=-1)
        is_there = ops.isfinite(numbers)
        variance = [deviation**2 for deviation in facts.deviation]
        scaled = layers.Normalization(
            mean=list(facts.mean), variance=variance, dtype="float32", name="normalization"
        )(numbers)
        parts = [ops.where(is_there, scaled, 0.0)]
        gaps = [number for number, count in enumerate(facts.missing) if count]
        if gaps:
            missing = ops.cast(ops.logical_not(is_there), "float32")
            parts.append(ops.take(missing, gaps, axis=-1))
        encoded[NUMBERS] = ops.concatenate(parts, axis=-1)
    for number, name in enumerate(schema.categorical):
        vocabulary = list(facts.categories[name])
        lookup = layers.StringLookup(
            vocabulary=vocabulary, mask_token="", oov_token=_NO_CATEGORY, name=f"lookup_{number}"
        )
        encoded[f"category_{number}"] = lookup(columns[name])
    for number, pair in enumerate(crosses):
        _check_cross(table, pair)
        crossing = layers.HashedCrossing(cross_buckets, name=f"crossing_{number}")
        encoded[f"cross_{number}"] = crossing(tuple(columns[name] for name in pair))
    inputs = {names[name]: column for name, column in columns.items()}
    return keras.Model(inputs, encoded, name="preprocessing")


def input_names(table: TrainedTable) -> dict[str, str]:
    """Column -> what a model calls it: a SavedModel knows letters, digits and _ alone, and not their case."""
    names: dict[str, str] = {}
    for column in table.schema.columns:
        name = re.sub(r"[^A-Za-z0-9]+", "_", column.name).strip("_")
        if not name or not name[0].isalpha():
            name = f"column_{name}"
        taken = {other.lower() for other in names.values()}
        versions = (name if n == 1 else f"{name}_{n}" for n in itertools.count(1))
        names[column.name] = next(each for each in versions if each.lower() not in taken)
    return names


def mlp(shapes: Shapes, hidden: Sequence[int], dropout: float, embedding_width: int) -> keras.Model:
    """A network over numbers and embedded categories; of a window it sees all rows at once."""
    inputs = _inputs(shapes)
    return keras.Model(inputs, _deep(inputs, shapes, hidden, dropout, embedding_width), name="mlp")


def wide_and_deep(
    shapes: Shapes, hidden: Sequence[int], dropout: float, embedding_width: int
) -> keras.Model:
    """The logits of a linear model over numbers, categories and crosses, added to those of an `mlp`.

    Cheng et al. 2016, Wide & Deep Learning, section 3.3; one optimizer trains both parts.
    """
    if shapes.window:
        raise ConfigError(
            "model.name=wide_and_deep is for rows; for windows use mlp or convolution."
        )
    inputs = _inputs(shapes)
    logits = [_deep(inputs, shapes, hidden, dropout, embedding_width)]
    if shapes.numbers:
        wide = layers.Dense(shapes.outputs, use_bias=False, dtype="float32", name="wide_numbers")
        logits.append(wide(inputs[NUMBERS]))
    for kind, sizes in (("category", shapes.categories), ("cross", shapes.crosses)):
        for number, size in enumerate(sizes):
            # A row of this table is the weights of one category.
            weights = layers.Embedding(
                size, shapes.outputs, "zeros", dtype="float32", name=f"wide_{kind}_{number}"
            )
            logits.append(weights(inputs[f"{kind}_{number}"]))
    total = layers.Add(dtype="float32")(logits) if len(logits) > 1 else logits[0]
    return keras.Model(inputs, total, name="wide_and_deep")


def convolution(
    shapes: Shapes, hidden: Sequence[int], dropout: float, embedding_width: int
) -> keras.Model:
    """Causal convolutions over a window, of dilation 1, 2, 4, ...; the last row and the mean of all go on.

    As van den Oord et al. 2016 (WaveNet, section 2.1) have them, without gates.
    """
    if not shapes.window:
        raise ConfigError(
            "model.name=convolution is for windows; for rows use mlp or wide_and_deep."
        )
    inputs = _inputs(shapes)
    x = _together(inputs, shapes, embedding_width)
    for depth, units in enumerate(hidden):
        x = layers.Conv1D(units, 3, padding="causal", dilation_rate=2**depth, activation="relu")(x)
        x = layers.Dropout(dropout)(x)
    x = layers.Concatenate()([x[:, -1], layers.GlobalAveragePooling1D()(x)])
    logits = layers.Dense(shapes.outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="convolution")


NETWORKS = {"mlp": mlp, "wide_and_deep": wide_and_deep, "convolution": convolution}


def with_raw_rows(
    preprocess: keras.Model, network: keras.Model, table: TrainedTable
) -> keras.Model:
    """Raw columns -> [batch, 1] probabilities of the positive class, [batch, classes] of each, or [batch, 1] numbers.

    Of Keras's own layers, so that a process with nothing but Keras loads it, and with a copy of the network: a
    compiled model within another one would be compiled again wherever that is loaded.
    """
    schema, facts = table.schema, table.facts
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    outputs = copy(preprocess(preprocess.input))
    if schema.task == "regression":
        scale = {"scale": facts.target_deviation, "offset": facts.target_mean}
        result = layers.Rescaling(**scale, dtype="float32", name="prediction")(outputs)
    else:
        function = "sigmoid" if schema.task == "binary" else "softmax"
        result = layers.Activation(function, dtype="float32", name="probability")(outputs)
    return keras.Model(preprocess.input, result, name=network.name)


def _inputs(shapes: Shapes) -> dict[str, keras.KerasTensor]:
    rows = (shapes.window,) if shapes.window else ()
    found = {}
    if shapes.numbers:
        found[NUMBERS] = keras.Input((*rows, shapes.numbers), name=NUMBERS)
    for kind, sizes in (("category", shapes.categories), ("cross", shapes.crosses)):
        for number in range(len(sizes)):
            name = f"{kind}_{number}"
            found[name] = keras.Input(rows, dtype="int64", name=name)
    return found


def _together(inputs: dict, shapes: Shapes, embedding_width: int) -> keras.KerasTensor:
    """Numbers and embedded categories, with a last dimension of all."""
    parts = [inputs[NUMBERS]] if shapes.numbers else []
    for number, size in enumerate(shapes.categories):
        table = layers.Embedding(size, embedding_width, name=f"embedding_{number}")
        parts.append(table(inputs[f"category_{number}"]))
    return layers.Concatenate()(parts) if len(parts) > 1 else parts[0]


def _deep(
    inputs: dict, shapes: Shapes, hidden: Sequence[int], dropout: float, embedding_width: int
) -> keras.KerasTensor:
    x = _together(inputs, shapes, embedding_width)
    if shapes.window:
        x = layers.Flatten()(x)
    for units in hidden:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(dropout)(x)
    return layers.Dense(shapes.outputs, dtype="float32", name="logits")(x)


def _check_cross(table: TrainedTable, pair: Sequence[str]) -> None:
    schema = table.schema
    others = [name for name in pair if name not in schema.categorical]
    if schema.window or len(pair) != 2 or others:
        raise ConfigError(
            f"model.crosses: a cross is two categorical columns of rows, got {list(pair)}"
            f"{f' of windows of {schema.window} rows' if schema.window else ''}; the categorical columns are "
            f"{', '.join(schema.categorical) or 'none'}."
        )
