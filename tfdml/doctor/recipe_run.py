"""Runs a training script up to its first `Trainer.fit`, and looks at the model there. Runs in a child.

The script does all that it does before training: it reads its settings, prepares its data, builds and compiles
its model; on one task, whatever the cluster is. What depends on the number of replicas is asked with the job's.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

import tfdml.config
import tfdml.training
from tfdml.data.source import Source
from tfdml.doctor import model as rules
from tfdml.training import Trainer


class _SeenEnough(BaseException):
    """Ends the script where training would begin; nothing in it should catch this."""


def main(order: Mapping[str, Any], say: Callable[..., None]) -> None:
    say(doing="running the script")
    workers = order["num_workers"]
    check = tfdml.config.check_global_batch_size

    def with_all_workers(global_batch_size: int, num_replicas: int) -> None:
        check(global_batch_size, num_replicas * workers)

    class Looking(Trainer):
        """A Trainer that says what it would be given, and does not train."""

        def __init__(
            self,
            model: keras.Model,
            strategy: tf.distribute.Strategy | None = None,
            **options: Any,
        ):
            self._replicas: int | None = None
            if strategy is not None:
                self._replicas = strategy.num_replicas_in_sync * workers
            found = rules.examine(model, strategy, num_replicas=self._replicas)
            say(findings=[finding.as_json() for finding in found])
            if any(finding.level == "error" for finding in found):
                raise _SeenEnough
            super().__init__(model, strategy, **options)
            self._replicas = self.strategy.num_replicas_in_sync * workers
            self._found = found

        def fit(self, train_data: Any, **options: Any) -> Any:
            size = _rows(train_data)
            found = rules.examine(self.model, self.strategy, size, num_replicas=self._replicas)
            say(findings=[finding.as_json() for finding in found], global_batch_size=size or 0)
            raise _SeenEnough

    tfdml.config.check_global_batch_size = with_all_workers
    tfdml.training.Trainer = Looking  # type: ignore[misc]
    os.environ.pop("TF_CONFIG", None)
    os.environ["TFDML_CLUSTER"] = "local"
    script = order["script"]
    with tempfile.TemporaryDirectory() as model_dir:
        # A recipe has these flags; another script gets none that it does not know.
        words = [f"--config={file}" for file in order["config_files"]]
        words += [word for text in order["overrides"] for word in ("--set", text)]
        if order["is_recipe"]:
            words.append(f"--model_dir={model_dir}")
        sys.argv = [script, *words]
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
        try:
            runpy.run_path(script, run_name="__main__")
        except _SeenEnough:
            say(reached=True)
        except SystemExit as end:
            if end.code not in (None, 0):
                raise


def _rows(data: Any) -> int | None:
    """The rows of a global batch; None for what is no data set of such."""
    if isinstance(data, Source):
        return data.order.global_batch_size
    if not isinstance(data, tf.data.Dataset):
        return None
    spec = tf.nest.flatten(data.element_spec)[0]
    if spec.shape.rank and spec.shape[0] is not None:
        return int(spec.shape[0])
    for element in data.take(1):
        return int(tf.nest.flatten(element)[0].shape[0])
    return None
