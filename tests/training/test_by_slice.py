"""Metrics by slice are what NumPy gives, whatever the number of replicas and how the data falls on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfdml.errors import ConfigError
from tfdml.testing import run_in_process, run_workers

ROWS, BATCH = 53, 16  # the last batch is short, and with 3 replicas slices differ


def data() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return draw.normal(size=[ROWS, 4]).astype(np.float32), draw.integers(0, 5, ROWS)


def measured(strategy_name: str, replicas: int | None) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.training import Slices, metrics_by_slice

    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=replicas
    )
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input([4]), keras.layers.Dense(5)])
        model.compile(loss="mse", steps_per_execution=2)
    x, y = data()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    slices = Slices(
        feature="label",
        names=["zero", "one", "two", "three", "none"],
        # 4 belongs to no slice, so that "none" is empty
        number_of=lambda x, y: tf.where(y == 4, tf.constant(9, y.dtype), y),
        values={
            "accuracy": lambda y, logits: tf.argmax(logits, -1) == y,
            "largest": lambda y, logits: tf.reduce_max(logits, -1),
        },
    )
    found = metrics_by_slice(model, strategy, batches, slices)
    return {"found": found, "outputs": model(x).numpy()}


def expected(outputs: np.ndarray) -> dict[str, dict[str, float]]:
    _, y = data()
    result = {}
    for number, name in enumerate(["zero", "one", "two", "three"]):
        mine = outputs[y == number].astype(np.float64)
        result[name] = {
            "examples": len(mine),
            "accuracy": float(np.mean(mine.argmax(-1) == number)),
            "largest": float(np.mean(mine.max(-1))),
        }
    return result


def check(result: dict[str, Any]) -> None:
    found, wanted = result["found"], expected(result["outputs"])
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=1e-6), name
        assert found[name]["accuracy"] == pytest.approx(values["accuracy"], abs=1e-15)


@pytest.mark.parametrize(
    ("strategy", "replicas"),
    [("one_device", None), pytest.param("mirrored", 3, marks=pytest.mark.slow)],
)
def test_in_one_process(strategy, replicas):
    check(run_in_process(measured, args=(strategy, replicas)))


def test_two_workers():
    results = run_workers(measured, num_workers=2, args=("multi_worker", None))
    for result in results:
        check(result)
    assert results[0]["found"] == results[1]["found"]


def test_slices_without_names_or_values_are_refused():
    from tfdml.training import Slices

    for options in (
        {"names": [], "values": {"a": None}},
        {"names": ["a"], "values": {}},
        {"names": ["a"], "values": {"examples": None}},
    ):
        with pytest.raises(ConfigError, match="of the slices by 'label' must"):
            Slices(feature="label", number_of=lambda x, y: y, **options)


def test_one_slice_alone_is_read_as_several_are():
    import tensorflow as tf

    from tfdml.training.metrics import to_python

    logs = {"one": tf.constant([2.0]), "scalar": tf.constant(3.0), "two": tf.constant([1.0, 2.0])}
    read = to_python(logs | {"plain": 4})
    assert (read["one"], read["scalar"], read["plain"]) == (2.0, 3.0, 4.0)
    np.testing.assert_array_equal(read["two"], [1.0, 2.0])
