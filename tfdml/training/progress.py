"""Progress on the chief: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS_BETWEEN_LINES = 10.0


class ProgressReporter(keras.callbacks.Callback):
    """Shows epoch, step, examples/s and logs.

    Args:
        examples_of: returns the number of examples trained so far in this epoch.
        steps: steps in an epoch, or None when not known.
        epochs: number of epochs.
    """

    def __init__(self, examples_of: Any, steps: int | None, epochs: int):
        super().__init__()
        self._examples_of = examples_of
        self._steps = steps
        self._epochs = epochs
        self._console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        self._bar: Progress | None = None
        self._steps_seen: int | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._title = f"epoch {epoch + 1}/{self._epochs}"
        self._begin = self._last_line = self._last_step = time.monotonic()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[logs]}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._steps, logs="")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps_seen = batch + 1
        self._last_step = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=batch + 1, logs=self._describe(logs))
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            total = f"/{self._steps}" if self._steps else ""
            self._print(f"{self._title} step {batch + 1}{total}: {self._describe(logs)}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps = self._steps or self._steps_seen
        self._stop_bar()
        self._print(f"{self._title}: {self._describe(logs)}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._stop_bar()

    def close(self) -> None:
        """Give the terminal back; also after an error or Ctrl-C."""
        self._stop_bar()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _describe(self, logs: dict[str, Any] | None) -> str:
        seconds = max(self._last_step - self._begin, 1e-9)  # without validation
        numbers = [
            f"{name} {value:.4g}"
            for name, value in (logs or {}).items()
            if isinstance(value, float)
        ]
        return ", ".join([f"{self._examples_of() / seconds:,.0f} examples/s", *numbers])
