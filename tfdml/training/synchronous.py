"""All replicas make every step together: one device, mirrored, several workers, TPU."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.training import prepare
from tfdml.training.agreement import Agreement
from tfdml.training.loop import ExecutionLoop, loop_for
from tfdml.training.predict import predict
from tfdml.training.stream import Data, Stream, make_stream


class SynchronousRunner:
    """Runs `model` on the replicas of `strategy`; see `Runner`."""

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy):
        self._model = model
        self._strategy = strategy
        self.agreement = Agreement(strategy)

    def training_data(self, data: Data, *, counts_steps: bool) -> Stream:
        return make_stream(data, self._strategy, endless=True, marks_end=not counts_steps)

    def training_loop(
        self, batches: Stream, start: Position, *, counts_steps: bool
    ) -> ExecutionLoop:
        return loop_for(
            self._model,
            self._strategy,
            "train_step",
            batches,
            start=start,
            counts_steps=counts_steps,
        )

    def evaluation(self, data: Data, steps: int | None) -> tuple[Stream, ExecutionLoop]:
        stream = make_stream(data, self._strategy)
        prepare.build(self._model, self._strategy, stream.element_spec)
        counts_steps = stream.num_batches is not None
        loop = loop_for(self._model, self._strategy, "test_step", stream, counts_steps=counts_steps)
        return stream, loop

    def predict(self, data: Any, steps: int | None) -> Any:
        return predict(self._model, self._strategy, data, steps)
