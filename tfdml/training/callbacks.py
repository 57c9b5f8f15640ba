"""Which callback runs on which task.

Keras's own writers would write the same files from every task, so they run on the chief. Everything else
runs on every task and sees the same logs, so that decisions (stop, lower the learning rate) are the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from tfdml.errors import ConfigError

_WRITERS = (
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
    keras.callbacks.CSVLogger,
    keras.callbacks.BackupAndRestore,
    keras.callbacks.RemoteMonitor,
)

_BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")

# These decide from logs alone, which are the same on every task, or do not decide at all.
_AGREEING = (
    *_WRITERS,
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.TerminateOnNaN,
    keras.callbacks.History,
    keras.callbacks.SwapEMAWeights,
)


class ChiefOnly(keras.callbacks.Callback):
    """Runs `callback` on the chief task only, for callbacks of one's own that write files or print.

    Such a callback must not call what needs all tasks: `evaluate`, `predict` and `fit` are refused in it.
    """

    def __init__(self, callback: keras.callbacks.Callback):
        super().__init__()
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(
                f"ChiefOnly takes a keras.callbacks.Callback, got {type(callback).__name__}. "
                "Pass an instance, for example ChiefOnly(MyCallback())."
            )
        self.callback = callback


def runs_on_chief_only(callback: keras.callbacks.Callback) -> bool:
    """Whether `callback` writes files that several tasks would overwrite for each other."""
    return isinstance(callback, (ChiefOnly, *_WRITERS))


def may_stop_within_epoch(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Whether some callback may set `stop_training` after a batch on this task and not on others."""
    return any(
        getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
        or hook in vars(callback)
        for callback in callbacks
        if not isinstance(callback, _AGREEING)
        for hook in _BATCH_HOOKS
    )


class Callbacks(keras.callbacks.CallbackList):
    """Keras's callback list under the rules above.

    Args:
        callbacks: what the user passed.
        model: the model that callbacks see.
        chief: whether this task is the chief.
        several_tasks: whether other tasks train too.
        own: callbacks of the Trainer (progress), which come last.
        params: Keras's `epochs`, `steps`, `verbose`.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback] | None,
        model: keras.Model,
        *,
        chief: bool,
        several_tasks: bool,
        own: Sequence[keras.callbacks.Callback] = (),
        add_history: bool = False,
        **params: Any,
    ):
        given = list(callbacks or [])
        for callback in given:
            if not isinstance(callback, keras.callbacks.Callback):
                raise ConfigError(
                    f"`callbacks` must hold keras.callbacks.Callback instances, got {callback!r}. "
                    "Pass instances, not classes or functions."
                )
        if several_tasks and any(isinstance(c, keras.callbacks.BackupAndRestore) for c in given):
            raise ConfigError(
                "keras.callbacks.BackupAndRestore restores one task only, got it with several tasks. "
                "Use tfdml.callbacks.BackupAndRestore, which takes its place."
            )
        self.asks_every_execution = several_tasks and may_stop_within_epoch(given)
        self._given = [_unwrap(callback) for callback in given]
        chosen: list[keras.callbacks.Callback] = []
        for callback in given:
            if not runs_on_chief_only(callback):
                chosen.append(callback)
            elif chief:
                chosen.append(_OnChief(callback) if several_tasks else _unwrap(callback))
        super().__init__(
            [*chosen, *own], add_history=add_history, add_progbar=False, model=model, **params
        )

    @property
    def stateful(self) -> list[keras.callbacks.Callback]:
        """All whose state is saved, the same list on every task: also those that run on the chief only."""
        history = [c for c in self.callbacks if isinstance(c, keras.callbacks.History)]
        return [*self._given, *(c for c in history if c not in self._given)]


def _unwrap(callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
    return callback.callback if isinstance(callback, ChiefOnly) else callback


_HOOKS = [
    f"on_{phase}_{moment}"
    for phase in ("epoch", "train", "train_batch", "test", "test_batch", "predict", "predict_batch")
    for moment in ("begin", "end")
]


class _OnChief(keras.callbacks.Callback):
    """Passes every hook on, and refuses calls that would wait for the other tasks for ever."""

    def __init__(self, callback: keras.callbacks.Callback):
        super().__init__()
        self._callback = _unwrap(callback)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self._callback.set_params(params)


def _forward(hook: str) -> Any:
    def call(self: _OnChief, *args: Any, **kwargs: Any) -> Any:
        with _refusing_collectives(self.model, self._callback):
            return getattr(self._callback, hook)(*args, **kwargs)

    call.__name__ = hook
    return call


for _hook in _HOOKS:
    setattr(_OnChief, _hook, _forward(_hook))


@contextmanager
def _refusing_collectives(model: keras.Model, callback: keras.callbacks.Callback) -> Iterator[None]:
    def refuse(method: str) -> Any:
        def refused(*args: Any, **kwargs: Any) -> None:
            raise ConfigError(
                f"{type(callback).__name__} runs on the chief only and called model.{method}, which needs every "
                f"task. Use a callback that runs on all tasks (no ChiefOnly), and Trainer.{method}."
            )

        return refused

    methods = ("fit", "evaluate", "predict")
    for method in methods:
        # Past Keras's attribute tracking, which would look for variables in the function.
        model.__dict__[method] = refuse(method)
    try:
        yield
    finally:
        for method in methods:
            model.__dict__.pop(method, None)
