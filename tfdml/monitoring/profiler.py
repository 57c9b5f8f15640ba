"""Traces of some steps by TensorFlow's profiler, on some tasks: MODEL_DIR/profile/TASK, where TensorBoard finds them.

TensorBoard shows them with its plug-in: `pip install xprof`, and the tab "Profile". Every task has a directory of its
own, because the profiler names files by the host.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import tensorflow as tf

DIRECTORY = "profile"

_log = logging.getLogger("tfdml")


class StepProfiler:
    """Traces whole executions: from that with step `first` on, up to the one in which `last` steps have been made.

    What cannot be traced is told of once, and training goes on.

    Args:
        directory: of this task.
        first, last: steps made in the whole training, before and after.
    """

    def __init__(self, directory: Path, first: int, last: int):
        self._directory = directory
        self._first, self._last = first, last
        self._is_done = self._runs = False
        self._step: Any = None

    def before(self, step: int, wanted: int) -> None:
        """An execution of up to `wanted` steps begins; `step` were made before."""
        if self._is_done:
            return
        if step >= self._last:
            self._end()
            return
        if not self._runs and step + wanted > self._first:
            try:
                tf.profiler.experimental.start(str(self._directory))
            except Exception as error:
                self._fail(error)
                return
            self._runs = True
        if self._runs:
            # Tells the profiler what a step is, so that it can say what is typical of one.
            self._step = tf.profiler.experimental.Trace("train", step_num=step, _r=1)
            self._step.__enter__()

    def after(self, step: int) -> None:
        """The execution has ended; `step` were made in all."""
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None
        if self._runs and step >= self._last:
            self._end()

    def close(self) -> None:
        """Training has ended: what was traced is written."""
        self._step = None
        self._end()

    def _end(self) -> None:
        self._is_done = True
        if not self._runs:
            return
        self._runs = False
        try:
            tf.profiler.experimental.stop()
        except Exception as error:
            self._fail(error)
            return
        _log.info("profile of steps %d to %d: %s", self._first, self._last, self._directory)

    def _fail(self, error: Exception) -> None:
        self._is_done = True
        reason = " ".join(str(error).split())[:500]
        _log.warning("monitoring: no profile is written, training goes on: %s", reason)
