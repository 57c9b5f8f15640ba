"""What is made of a tabular network's logits: loss, metrics, probabilities, what is printed and written of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tabular_metrics as exact
import tensorflow as tf
from tabular_models import input_names

from tfdml.data import TrainedTable
from tfdml.errors import ConfigError


def target_of(
    table: TrainedTable, imbalance: Any
) -> Callable[[Mapping[str, tf.Tensor]], tf.Tensor]:
    """batch -> what the loss compares with: [batch, 1] or one-hot float32, or class numbers [batch].

    A number is standardised by mean and deviation of the training split.
    """
    schema, facts = table.schema, table.facts

    def target(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        values = batch[schema.target]
        if schema.task == "regression":
            return ((values - facts.target_mean) / facts.target_deviation)[:, None]
        if schema.task == "binary":
            return tf.cast(values, tf.float32)[:, None]
        return tf.one_hot(values, len(schema.classes)) if imbalance.loss == "focal" else values

    return target


def loss_and_metrics(table: TrainedTable, imbalance: Any) -> dict[str, Any]:
    """For `compile`, in the strategy's scope.

    Focal loss multiplies the cross-entropy by (1 - p)^gamma, p the probability of the right class (Lin et al. 2017,
    equation 4).

    Raises:
        ConfigError: classes are to be evened out, and there are none.
    """
    task, focal = table.schema.task, imbalance.loss == "focal"
    losses, metrics = keras.losses, keras.metrics
    if task == "regression":
        default = type(imbalance)()
        for name in ("sampling", "class_weights", "loss"):
            if getattr(imbalance, name) != getattr(default, name):
                raise ConfigError(
                    f"imbalance.{name}={getattr(imbalance, name)}: the column {table.schema.target!r} is predicted "
                    "as a number and has no classes. Leave it out, or set data.task."
                )
        return {"loss": losses.MeanSquaredError(), "metrics": []}
    gamma = {"gamma": imbalance.focal_gamma} if focal else {}
    if task == "binary":
        of_class = losses.BinaryFocalCrossentropy if focal else losses.BinaryCrossentropy
        return {
            "loss": of_class(from_logits=True, **gamma),
            "metrics": [
                metrics.BinaryAccuracy(name="accuracy", threshold=0.0),  # of logits
                metrics.AUC(curve="PR", from_logits=True, name="pr_auc_by_thresholds"),
            ],
        }
    if focal:
        loss = losses.CategoricalFocalCrossentropy(alpha=1.0, from_logits=True, **gamma)
    else:
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    return {"loss": loss, "metrics": ["accuracy"]}


def class_weights(table: TrainedTable, imbalance: Any) -> dict[int, float] | None:
    """Class number -> weight of its rows in the loss; balanced ones give each class the same weight in all.

    Raises:
        ConfigError: a class that there is not.
    """
    asked, classes = imbalance.class_weights, table.schema.classes
    if asked == "none":
        return None
    if asked == "balanced":
        counts = np.maximum(table.facts.class_counts, 1)
        return dict(enumerate((sum(counts) / (len(counts) * counts)).tolist()))
    for name in asked:
        if name not in classes:
            raise ConfigError(
                f"imbalance.class_weights: there is no class {name!r}; there are {', '.join(classes)}."
            )
    return {number: asked.get(name, 1.0) for number, name in enumerate(classes)}


def probabilities(table: TrainedTable, logits: np.ndarray) -> np.ndarray:
    """[n, 1] -> [n], of the positive class; [n, classes] of each; of a number [n], in its own unit."""
    schema, facts = table.schema, table.facts
    logits = logits.astype(np.float64)
    if schema.task == "regression":
        return logits[:, 0] * facts.target_deviation + facts.target_mean
    if schema.task == "binary":
        return np.exp(-np.logaddexp(0.0, -logits[:, 0]))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def measure(
    table: TrainedTable, target: np.ndarray, predicted: np.ndarray, threshold: float
) -> dict[str, float]:
    """Exact metrics of what `probabilities` gives."""
    if table.schema.task == "regression":
        return exact.of_numbers(target, predicted)
    if table.schema.task == "multiclass":
        return exact.of_classes(target, predicted)
    return {
        "pr_auc": exact.average_precision(target, predicted),
        "roc_auc": exact.roc_auc(target, predicted),
        **exact.at_threshold(target, predicted, threshold),
    }


def evaluate(
    run: Any, trainer: Any, test_data: Any, data: Any, table: TrainedTable, settings: Any
) -> None:
    """Evaluate on all tasks; the chief prints, and writes into run.json and the model card.

    Args:
        test_data: batches of `data`'s split for testing, for the trainer's model.
        settings: the section `evaluation` of the recipe.
    """
    by_keras = run.evaluate(trainer, test_data)
    outputs = trainer.predict(test_data)
    if not run.is_chief:
        return
    columns, schema = data.arrays(), table.schema
    target, predicted = columns[schema.target], probabilities(table, outputs)
    results = measure(table, target, predicted, settings.threshold)
    slices = _slices(table, columns, predicted, settings)
    compared: dict[str, dict[str, float]] = {}
    if schema.task == "binary":
        compared["chance"] = {"pr_auc": float(np.mean(target))}
        risk = data.true_risk(columns)
        if risk is not None:
            compared["the hidden wear"] = {"pr_auc": exact.average_precision(target, risk)}
        others = [f"{name}: {each['pr_auc']:.4f}" for name, each in compared.items()]
        others.append(f"by Keras's 200 thresholds: {by_keras['pr_auc_by_thresholds']:.4f}")
        print(
            f"test PR-AUC: {results['pr_auc']:.4f} (average precision, exact; {', '.join(others)})"
        )
    rest = {
        name: value
        for name, value in results.items()
        if (name, schema.task) != ("pr_auc", "binary")
    }
    print("test " + ", ".join(f"{name}: {value:.4f}" for name, value in rest.items()))
    run.report(results, compared_with=compared, slices=slices)


def _slices(
    table: TrainedTable, columns: Mapping[str, np.ndarray], predicted: np.ndarray, settings: Any
) -> dict[str, dict[str, dict[str, float]]]:
    """Column -> its value -> metrics of the rows that have it; of a window in its last row."""
    name, schema = settings.slice_by, table.schema
    if name is None:
        return {}
    if name not in schema.categorical:
        raise ConfigError(
            f"evaluation.slice_by={name}: it is a categorical column, one of "
            f"{', '.join(schema.categorical) or 'which there is none'}."
        )
    values = columns[name][:, -1] if schema.window else columns[name]
    found = {}
    for value in np.unique(values):
        rows = values == value
        metrics = measure(table, columns[schema.target][rows], predicted[rows], settings.threshold)
        found[value.decode() or "(missing)"] = {"examples": int(rows.sum()), **metrics}
    return {name: found}


def predictions(
    table: TrainedTable, data: Any, threshold: float
) -> Callable[[np.ndarray], Mapping[str, Sequence[Any]]]:
    """Logits of all rows -> columns: which row it is, the prediction, and probabilities of classes."""
    schema = table.schema

    def columns(logits: np.ndarray) -> Mapping[str, Sequence[Any]]:
        predicted = probabilities(table, logits)
        found: dict[str, Any] = {"row": np.arange(len(predicted))}
        if schema.machine:
            of_windows = data.arrays()
            found = {schema.machine: [name.decode() for name in of_windows[schema.machine]]}
            found[schema.time] = of_windows[schema.time]
        if schema.task == "regression":
            return {**found, "prediction": predicted}
        classes = np.array(schema.classes)
        if schema.task == "binary":
            said = (predicted >= threshold).astype(np.int64)
            shares = {f"probability of {classes[1]}": predicted.round(6)}
        else:
            said = predicted.argmax(axis=1)
            shares = {
                f"probability of {name}": predicted[:, number].round(6)
                for number, name in enumerate(classes)
            }
        return {**found, "prediction": classes[said], **shares}

    return columns


def summary(table: TrainedTable) -> str:
    """One line: how many rows, columns and gaps, and how many of each class."""
    schema, facts = table.schema, table.facts
    rows = f"windows of {schema.window} rows" if schema.window else "rows"
    counts = zip(schema.classes, facts.class_counts, strict=True)
    classes = ", ".join(f"{name}: {count:,}" for name, count in counts)
    return (
        f"{facts.num_train:,} {rows} for training, {len(schema.numeric)} numeric columns "
        f"({sum(n > 0 for n in facts.missing)} with gaps), {len(schema.categorical)} categorical; "
        f"{schema.target}: {classes or 'a number'}"
    )


def description(table: TrainedTable, config: Any) -> dict[str, Any]:
    """For `Run.describe`: what an exported model takes and gives, and what it should not be taken for."""
    schema, imbalance = table.schema, config.imbalance
    shape = f"[batch, {schema.window}]" if schema.window else "[batch]"
    known = input_names(table)
    kinds = {"numeric": "float32, NaN where missing", "categorical": 'string, "" where missing'}
    columns = [
        f"{kinds[kind]}: {', '.join(known[name] for name in names)}"
        for kind, names in (("numeric", schema.numeric), ("categorical", schema.categorical))
        if names
    ]
    given = {
        "binary": f"the probability of {schema.classes[-1]}" if schema.classes else "",
        "multiclass": f"the probabilities of {', '.join(schema.classes)}",
        "regression": f"{schema.target}, in its own unit",
    }
    limits = [
        "Columns must be those of training in name, type, unit and meaning; only name and type are checked.",
        "Rows must come from where the rows of training came from: nothing tells of a row unlike all of them.",
    ]
    if (
        imbalance.sampling == "balanced"
        or imbalance.class_weights != "none"
        or imbalance.loss == "focal"
    ):
        limits.append(
            "Its probabilities rank, and are no frequencies: training evened out the classes "
            f"(sampling: {imbalance.sampling}, class_weights: {imbalance.class_weights}, loss: {imbalance.loss})."
        )
    if schema.window:
        limits.append("A window is of one machine, in order of time, without a repair within it.")
    return {
        "inputs": f"columns, {shape} each; {'; '.join(columns)}",
        "outputs": given[schema.task],
        "limits": limits,
    }
