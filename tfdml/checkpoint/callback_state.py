"""The state of Keras's callbacks: best values, patience used up, best weights, History, counters.

Counters have private names: without them a restart would save and log at other batches.

Other callbacks can have theirs saved with two methods: `get_state()`, which returns what JSON can say, and
`set_state(state)`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfdml.errors import ConfigError

_log = logging.getLogger("tfdml")

_NUMBERS: dict[type, tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "cooldown_counter", "best"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
}
_OWN = "state"


def go_on_writing(callbacks: Sequence[Any]) -> None:
    """Let callbacks keep what they have written before a restart; call before their `on_train_begin`."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            callback.append = True


def capture_callbacks(
    callbacks: Sequence[Any],
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The state of all callbacks that have some, after all of them ran.

    Returns:
        A document and arrays, for `Contents`.

    Raises:
        ConfigError: a callback's `get_state` returns what JSON cannot say.
    """
    document: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for number, callback in enumerate(callbacks):
        state: dict[str, Any] = {}
        for kind, names in _NUMBERS.items():
            if isinstance(callback, kind):
                state |= {name: _plain(getattr(callback, name, None)) for name in names}
        if isinstance(callback, keras.callbacks.History):
            state["history"] = {
                name: [_plain(value) for value in values]
                for name, values in callback.history.items()
            }
            state["epoch"] = [int(epoch) for epoch in getattr(callback, "epoch", [])]
        if isinstance(callback, keras.callbacks.CSVLogger):
            file = callback.csv_file
            state["num_bytes"] = file.tell() if file and not file.closed else 0
        if hasattr(callback, "get_state") and hasattr(callback, "set_state"):
            state[_OWN] = callback.get_state()
        best = getattr(callback, "best_weights", None)
        if isinstance(callback, keras.callbacks.EarlyStopping) and best is not None:
            state["num_best_weights"] = len(best)
            arrays |= {f"{number}/{index}": np.asarray(each) for index, each in enumerate(best)}
        if state:
            document.append({"number": number, "class": type(callback).__name__, **state})
    return document, arrays


def restore_callbacks(
    callbacks: Sequence[Any],
    document: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Give callbacks the state that `capture_callbacks` found; call after their `on_train_begin`, which resets them.

    The n-th callback of a class gets what the n-th of that class had. State of which there is no callback now, and
    callbacks that had no state then, are named in a warning.
    """
    waiting = list(document)
    for callback in callbacks:
        name = type(callback).__name__
        state = next((each for each in waiting if each["class"] == name), None)
        if state is not None:
            waiting.remove(state)
            _give(callback, state, arrays)
        elif isinstance(callback, tuple(_NUMBERS)):
            _log.warning("the snapshot has no state of %s, which begins anew", name)
    for state in waiting:
        _log.warning(
            "the snapshot has state of %s, which is not among the callbacks", state["class"]
        )


def _give(callback: Any, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    for kind, names in _NUMBERS.items():
        if isinstance(callback, kind):
            for name in names:
                if name in state:
                    setattr(callback, name, state[name])
    if isinstance(callback, keras.callbacks.History):
        callback.history = {name: list(values) for name, values in state["history"].items()}
        callback.epoch = list(state["epoch"])
    if isinstance(callback, keras.callbacks.CSVLogger) and hasattr(callback.csv_file, "truncate"):
        callback.csv_file.truncate(state["num_bytes"])  # what came after the snapshot comes again
        callback.append_header = not state["num_bytes"]
    if _OWN in state:
        callback.set_state(state[_OWN])
    if "num_best_weights" in state:
        number = state["number"]
        callback.best_weights = [
            arrays[f"{number}/{index}"] for index in range(state["num_best_weights"])
        ]


def _plain(value: Any) -> Any:
    """A number as JSON says it. NumPy's and TensorFlow's become Python's, with the same value."""
    if hasattr(value, "__array__") and np.size(value) == 1:
        value = np.asarray(value).item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(
        f"the state of a callback must be numbers, got {type(value).__name__}. Log numbers only."
    )
