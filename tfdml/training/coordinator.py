"""Workers make steps at their own speed, scheduled by the task that runs the script: parameter servers."""

from __future__ import annotations

from collections import deque
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.data.source import Source
from tfdml.errors import ConfigError
from tfdml.strategies.lost_peers import cluster_of
from tfdml.training import prepare
from tfdml.training.agreement import Agreement, Alone
from tfdml.training.coordinator_loop import CoordinatorLoop
from tfdml.training.exchange_report import check_library_of_servers
from tfdml.training.feed import Feed, make_feed
from tfdml.training.remote_result import fetch
from tfdml.training.stream import BEGINNING, Data


class CoordinatorRunner:
    """Runs `model` on the workers of `strategy`; see `Runner`.

    Args:
        max_pending_steps: so many steps may be scheduled and not known to be made; None is enough to keep all
            workers busy: two closures or executions for each.
        pull_dtype: "bfloat16" or "float16", in which weights travel to the workers; None as they are.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.ParameterServerStrategy,
        max_pending_steps: int | None,
        pull_dtype: str | None,
    ):
        self._model = model
        self._strategy = strategy
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        cluster = cluster_of(strategy)
        assert cluster is not None
        check_library_of_servers(cluster)
        self._num_workers = len(cluster.jobs["worker"])
        self._max_pending_steps = max_pending_steps
        self._pull_dtype = pull_dtype
        self.agreement: Agreement = Alone()

    def training_data(self, data: Data, *, counts_steps: bool) -> Feed:
        return make_feed(data, self._coordinator, repeats=counts_steps)

    def training_loop(
        self, batches: Feed, start: Position, *, counts_steps: bool
    ) -> CoordinatorLoop:
        return self._loop("train_step", batches, start)

    def evaluation(self, data: Data, steps: int | None) -> tuple[Feed, CoordinatorLoop]:
        feed = make_feed(data, self._coordinator, repeats=steps is not None)
        prepare.build(self._model, self._strategy, feed.element_spec)
        return feed, self._loop("test_step", feed, BEGINNING)

    def predict(self, data: Any, steps: int | None) -> Any:
        """Outputs for all of `data`, which goes through the coordinator batch by batch, unless it is a Source."""
        if not isinstance(data, tf.data.Dataset | Source):
            raise ConfigError(
                f"predict takes a tf.data.Dataset of global batches or a Source, got {type(data).__name__}. "
                "For arrays: tf.data.Dataset.from_tensor_slices(x).batch(global_batch_size)."
            )
        feed = make_feed(data, self._coordinator, repeats=False)
        if not self._model.built:
            prepare.build(self._model, self._strategy, feed.element_spec)

        @tf.function(autograph=False, reduce_retracing=True)
        def one_batch(number: tf.Tensor, *arguments: Any) -> Any:
            start = Position(tf.constant(0, tf.int64), number, number)  # type: ignore[arg-type]
            batch, _ = feed.read(tf.constant(1), start, *arguments)()
            return self._strategy.run(self._model.predict_step, args=(batch,))

        limit = feed.num_batches if steps is None else min(steps, feed.num_batches or steps)
        pending: deque[Any] = deque()
        parts: list[Any] = []
        number = 0
        while limit is None or number < limit:
            arguments = feed.arguments(Position(0, number, number), 1)
            if arguments is None:
                break
            here = tf.constant(number, tf.int64)
            pending.append(self._coordinator.schedule(one_batch, args=(here, *arguments)))
            number += 1
            while len(pending) > 2 * self._num_workers:
                parts.append(fetch(self._coordinator, pending.popleft()))
        parts += [fetch(self._coordinator, remote) for remote in pending]
        return tf.nest.map_structure(lambda *each: np.concatenate(each), *parts)

    def _loop(self, step_name: str, feed: Feed, start: Position) -> CoordinatorLoop:
        return CoordinatorLoop(
            self._model,
            self._coordinator,
            step_name,
            feed,
            start=start,
            num_workers=self._num_workers,
            max_pending_steps=self._max_pending_steps,
            pull_dtype=self._pull_dtype,
        )
